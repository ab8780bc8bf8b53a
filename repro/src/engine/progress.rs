//! Progress on standard error: bars on a terminal, an occasional line anywhere else. Where standard error is full or gone,
//! nothing is told and nothing else changes.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::parallel::lock;
use crate::engine::run::{FINGERPRINT, Outcome, RunSpec};

/// Least time between two lines where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(15);

/// Says something on standard error, which need not be there.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// All runs of one call.
pub(crate) struct Progress {
    total: usize,
    display: Display,
    counts: Mutex<Counts>,
}

enum Display {
    Bars {
        all: MultiProgress,
        overall: ProgressBar,
    },
    Lines,
}

struct Counts {
    found: usize,
    finished: usize,
    diverged: usize,
    /// Those found that other training code computed.
    other_code: usize,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// For as many runs, of as many steps in all.
    pub fn new(total: usize, steps: u64, jobs: usize) -> Self {
        let display = if std::io::stderr().is_terminal() {
            Display::bars(steps)
        } else {
            tell(&format!("{total} runs, {jobs} at a time"));
            Display::Lines
        };
        let now = Instant::now();
        let counts = Counts {
            found: 0,
            finished: 0,
            diverged: 0,
            other_code: 0,
            start: now,
            last_line: now,
        };
        let progress = Self {
            total,
            display,
            counts: Mutex::new(counts),
        };
        progress.show_done();
        progress
    }

    /// A run whose result was there already, computed by training code of this fingerprint.
    pub fn found(&self, spec: &RunSpec, code: &str) {
        self.count(|counts| {
            counts.found += 1;
            counts.other_code += usize::from(code != FINGERPRINT);
        });
        self.leave_out(spec.steps);
        self.show_done();
        self.line(|| format!("{} was finished earlier", spec.label()));
    }

    /// A run that another process computes. It is waited for, or left to that.
    pub fn held(&self, spec: &RunSpec, holder: &str, wait: bool) {
        let run = spec.label();
        let line = match wait {
            true => format!("waiting for {run}, which {holder} computes"),
            false => format!("passing over {run}, which {holder} computes"),
        };
        match &self.display {
            Display::Bars { all, .. } => drop(all.println(line)),
            Display::Lines => tell(&line),
        }
    }

    /// A run that is to be computed from `position` on.
    pub fn begin(&self, spec: &RunSpec, position: u64) -> RunProgress<'_> {
        self.leave_out(position);
        let bar = match &self.display {
            Display::Bars { all, .. } => Some(all.add(run_bar(spec, position))),
            Display::Lines => None,
        };
        RunProgress {
            progress: self,
            bar,
            label: spec.label(),
            steps: spec.steps,
        }
    }

    pub fn end(&self) {
        if let Display::Bars { overall, .. } = &self.display {
            overall.finish_and_clear();
        }
        let (sum, seconds) =
            self.count(|counts| (counts.sum(), counts.start.elapsed().as_secs_f64()));
        tell(&format!("{sum} in {seconds:.1} s"));
    }

    fn count<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut lock(&self.counts))
    }

    /// Steps that were done earlier count neither as work nor as speed.
    fn leave_out(&self, steps: u64) {
        if let Display::Bars { overall, .. } = &self.display {
            overall.dec_length(steps);
        }
    }

    fn show_done(&self) {
        if let Display::Bars { overall, .. } = &self.display {
            let done = self.count(|counts| counts.found + counts.finished);
            overall.set_message(format!("{done} of {} runs", self.total));
        }
    }

    /// Says how far things are, unless something was said a moment ago.
    fn line(&self, what: impl FnOnce() -> String) {
        if let Display::Bars { .. } = self.display {
            return;
        }
        let done = self.count(|counts| {
            let due = counts.last_line.elapsed() >= LINE_PERIOD;
            due.then(|| {
                counts.last_line = Instant::now();
                counts.found + counts.finished
            })
        });
        if let Some(done) = done {
            let (total, what) = (self.total, what());
            tell(&format!("{done} of {total} runs finished; {what}"));
        }
    }
}

impl Counts {
    fn sum(&self) -> String {
        let mut text = format!("{} runs computed", self.finished);
        if self.diverged > 0 {
            text += &format!(" ({} diverged)", self.diverged);
        }
        if self.found > 0 {
            text += &format!(", {} found finished", self.found);
        }
        if self.other_code > 0 {
            text += &format!(", {} of them by other training code", self.other_code);
        }
        text
    }
}

impl Display {
    fn bars(steps: u64) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{bar:40} {msg}, {elapsed}, {eta} left");
        let style = style.expect("the template is valid");
        let overall = all.add(ProgressBar::new(steps).with_style(style));
        overall.enable_steady_tick(Duration::from_secs(1));
        Self::Bars { all, overall }
    }
}

fn run_bar(spec: &RunSpec, position: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {msg}, {pos}/{len} steps, {eta} left");
    let bar = ProgressBar::new(spec.steps)
        .with_style(style.expect("the template is valid"))
        .with_message(spec.label());
    bar.set_position(position);
    bar.reset_eta();
    bar
}

/// One run.
pub(crate) struct RunProgress<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
    label: String,
    steps: u64,
}

impl RunProgress<'_> {
    pub fn at(&self, position: u64) {
        self.show(position);
        self.progress
            .line(|| format!("{} at step {position} of {}", self.label, self.steps));
    }

    pub fn end(&self, outcome: &Outcome) {
        self.progress.count(|counts| {
            counts.finished += 1;
            counts.diverged += usize::from(*outcome != Outcome::Finished);
        });
        self.progress.show_done();
        self.progress.line(|| format!("{} is finished", self.label));
    }

    fn show(&self, position: u64) {
        if let (Some(bar), Display::Bars { overall, .. }) = (&self.bar, &self.progress.display) {
            overall.inc(position.saturating_sub(bar.position()));
            bar.set_position(position);
        }
    }
}

/// However the run ends, its bar goes and none of its steps is left to do.
impl Drop for RunProgress<'_> {
    fn drop(&mut self) {
        self.show(self.steps);
        if let (Some(bar), Display::Bars { all, .. }) = (&self.bar, &self.progress.display) {
            bar.finish_and_clear();
            all.remove(bar);
        }
    }
}
