//! Loops over rows × channels: sums by channel, and lines y = (x − mean)·slope + shift with
//! their gradients.

use super::simd::dispatched;
use super::{Real, Term};

/// Channels that are worked on side by side; four registers of the widest vectors.
const LANES: usize = 64;

/// Elements whose sums stay in the type of x before they are added to one in f64. They
/// fit into the first or second level of cache, for what goes through them twice.
const BLOCK: usize = 8192;

/// Elements of a chunk of work for a thread.
const CHUNK: usize = 8 * BLOCK;

/// How x, rows × channels, is cut up.
///
/// Where several rows fit into [`LANES`], as many as fit are taken together: the
/// channels of 4 rows of 16 fill them all. Where one does not, it is cut into panels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    /// Elements from one group of rows to the next.
    stride: usize,
    /// Elements of a block; a multiple of `stride`.
    pub(crate) block: usize,
    /// Rows of a chunk; their elements are a multiple of `block`.
    pub(crate) chunk_rows: usize,
}

/// Lanes of every group of rows: elements start..start + width of each `stride`.
#[derive(Clone, Copy)]
struct Panel {
    start: usize,
    width: usize,
    stride: usize,
}

/// y = (x − mean)·slope + shift, by lane.
struct Lines<T> {
    mean: [T; LANES],
    slope: [T; LANES],
    shift: [T; LANES],
}

/// y = (x − mean)·slope + shift.
pub(crate) struct Line<T> {
    pub(crate) mean: T,
    pub(crate) slope: T,
    pub(crate) shift: T,
}

impl<T: Real> Default for Lines<T> {
    fn default() -> Self {
        let [mean, slope, shift] = [[T::zero(); LANES]; 3];
        Self { mean, slope, shift }
    }
}

impl<T: Real> Lines<T> {
    #[inline(always)]
    fn lanes(&self) -> impl Iterator<Item = Line<T>> {
        let slopes = self.mean.iter().zip(&self.slope);
        slopes.zip(&self.shift).map(
            #[inline(always)]
            |((&mean, &slope), &shift)| Line { mean, slope, shift },
        )
    }
}

impl<T: Real> Line<T> {
    #[inline(always)]
    fn at(&self, x: T) -> T {
        (x - self.mean) * self.slope + self.shift
    }

    /// What of dy the ReLU lets through.
    #[inline(always)]
    fn passed(&self, x: T, dy: T, relu: bool) -> T {
        if !relu || self.at(x) > T::zero() {
            dy
        } else {
            T::zero()
        }
    }
}

impl Layout {
    pub(crate) fn new(rows: usize, channels: usize) -> Self {
        let group = (LANES / channels).max(1);
        let stride = group * channels;
        let block = (BLOCK / stride).max(1) * stride;
        let chunk = (CHUNK / block).max(1) * block;
        Self {
            rows,
            channels,
            stride,
            block,
            chunk_rows: chunk / channels,
        }
    }

    pub(crate) fn chunk(&self) -> usize {
        self.chunk_rows * self.channels
    }

    pub(crate) fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk_rows)
    }

    pub(crate) fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        let end = (chunk + 1) * self.chunk_rows;
        chunk * self.chunk()..end.min(self.rows) * self.channels
    }

    fn panels(&self) -> impl Iterator<Item = Panel> + use<> {
        let stride = self.stride;
        (0..stride).step_by(LANES).map(move |start| Panel {
            start,
            width: LANES.min(stride - start),
            stride,
        })
    }

    /// Gives each lane the value of its channel.
    fn spread<T: Real>(&self, panel: Panel, of_channel: impl Fn(usize) -> T) -> [T; LANES] {
        let lane = |lane| match lane < panel.width {
            true => of_channel((panel.start + lane) % self.channels),
            false => T::zero(),
        };
        std::array::from_fn(lane)
    }

    /// Adds each lane to the sum of its channel.
    fn fold<T: Real>(&self, panel: Panel, lanes: &[T; LANES], by_channel: &mut [f64]) {
        let end = self.channels.min(panel.start + panel.width);
        let sums = &mut by_channel[panel.start..end];
        for lanes in lanes[..panel.width].chunks(sums.len()) {
            sums.iter_mut()
                .zip(lanes)
                .for_each(|(sum, lane)| *sum += lane.in_f64());
        }
    }

    /// Merges the means and Σ(x − mean)² of the rows of x into those of the `before` rows before
    /// them: the first half of `sums`, whose second half holds those of one block.
    ///
    /// The mean of a block is rounded to T before its squares are summed around it. That
    /// costs an error of n·(mean's rounding)², far below that of the sum.
    pub(crate) fn moments<T: Real>(&self, x: &[T], mut before: usize, sums: &mut [f64]) {
        let (merged, block) = sums.split_at_mut(2 * self.channels);
        let (mean, squares) = merged.split_at_mut(self.channels);
        if before == 0 {
            mean.fill(0.0);
            squares.fill(0.0);
        }
        for x in x.chunks(self.block) {
            let rows = x.len() / self.channels;
            block.fill(0.0);
            let (block_mean, block_squares) = block.split_at_mut(self.channels);
            for panel in self.panels() {
                self.fold(panel, &panel.sum(x), block_mean);
            }
            block_mean.iter_mut().for_each(|mean| *mean /= rows as f64);
            for panel in self.panels() {
                let mean = self.spread(panel, |c| T::nearest(block_mean[c]));
                self.fold(panel, &panel.squares(x, &mean), block_squares);
            }
            merge(before, (mean, squares), rows, (block_mean, block_squares));
            before += rows;
        }
    }
}

/// Merges the means and Σ(x − mean)² of other rows into those of the `before` rows
/// before them.
pub(crate) fn merge(
    before: usize,
    (mean, squares): (&mut [f64], &mut [f64]),
    rows: usize,
    (other_mean, other_squares): (&[f64], &[f64]),
) {
    let share = rows as f64 / (before + rows) as f64;
    let others = other_mean.iter().zip(other_squares);
    for ((mean, squares), (other_mean, other_squares)) in mean.iter_mut().zip(squares).zip(others) {
        let difference = other_mean - *mean;
        *mean += difference * share;
        *squares += other_squares + difference * difference * share * before as f64;
    }
}

impl Panel {
    /// Compiles `f`, which is given the panel's width, once for the full width, where
    /// the sums of all lanes stay in registers, and once for any other.
    #[inline(always)]
    fn with_width<R>(self, mut f: impl FnMut(usize) -> R) -> R {
        match self.width {
            LANES => f(LANES),
            width => f(width),
        }
    }

    /// Calls `f` with the place and the length of the panel's part of each group of
    /// rows; it may be short in the last.
    #[inline(always)]
    fn groups(self, len: usize, width: usize, mut f: impl FnMut(usize, usize)) {
        let whole = len - len % self.stride;
        for at in (0..whole).step_by(self.stride) {
            f(at + self.start, width);
        }
        let rest = (len - whole).saturating_sub(self.start).min(width);
        if rest > 0 {
            f(whole + self.start, rest);
        }
    }

    /// Σ term(x, mean) by lane.
    #[inline(always)]
    fn sum_of<T: Real>(self, x: &[T], mean: &[T; LANES], term: impl Fn(T, T) -> T) -> [T; LANES] {
        dispatched!(
            #[inline(always)]
            || {
                self.with_width(
                    #[inline(always)]
                    |width| {
                        let mut sums = [T::zero(); LANES];
                        self.groups(
                            x.len(),
                            width,
                            #[inline(always)]
                            |at, width| {
                                let terms = x[at..][..width].iter().zip(mean);
                                for (sum, (&x, &mean)) in sums.iter_mut().zip(terms) {
                                    *sum += term(x, mean);
                                }
                            },
                        );
                        sums
                    },
                )
            },
        )
    }

    /// Σ x.
    fn sum<T: Real>(self, x: &[T]) -> [T; LANES] {
        self.sum_of(x, &[T::zero(); LANES], |x, _| x)
    }

    /// Σ (x − mean)².
    fn squares<T: Real>(self, x: &[T], mean: &[T; LANES]) -> [T; LANES] {
        self.sum_of(x, mean, |x, mean| (x - mean) * (x - mean))
    }

    /// Σ dy and Σ dy·(x − mean), over what the ReLU lets through.
    fn gradient_sums<T: Real>(
        self,
        x: &[T],
        dy: &[T],
        lines: &Lines<T>,
        relu: bool,
    ) -> [[T; LANES]; 2] {
        dispatched!(
            #[inline(always)]
            || {
                self.with_width(
                    #[inline(always)]
                    |width| {
                        let (mut by_shift, mut by_slope) = ([T::zero(); LANES], [T::zero(); LANES]);
                        self.groups(
                            x.len(),
                            width,
                            #[inline(always)]
                            |at, width| {
                                let terms = x[at..][..width].iter().zip(&dy[at..][..width]);
                                let sums = by_shift.iter_mut().zip(&mut by_slope);
                                for ((sums, (&x, &dy)), line) in sums.zip(terms).zip(lines.lanes())
                                {
                                    let dy = line.passed(x, dy, relu);
                                    *sums.0 += dy;
                                    *sums.1 += dy * (x - line.mean);
                                }
                            },
                        );
                        [by_shift, by_slope]
                    },
                )
            },
        )
    }
}

/// y = (x − mean)·slope + shift by channel, with a ReLU on top or without.
pub(crate) struct Normaliser<T> {
    layout: Layout,
    relu: bool,
    panels: Vec<(Panel, Lines<T>)>,
}

impl<T: Real> Normaliser<T> {
    /// For so many channels, every line y = 0.
    pub(crate) fn new(layout: Layout, relu: bool) -> Self {
        let panels = layout.panels().map(|panel| (panel, Lines::default()));
        Self {
            layout,
            relu,
            panels: panels.collect(),
        }
    }

    /// Gives every channel its line.
    pub(crate) fn set(&mut self, of_channel: impl Fn(usize) -> Line<T>) {
        for (panel, lines) in &mut self.panels {
            lines.mean = self.layout.spread(*panel, |c| of_channel(c).mean);
            lines.slope = self.layout.spread(*panel, |c| of_channel(c).slope);
            lines.shift = self.layout.spread(*panel, |c| of_channel(c).shift);
        }
    }

    /// [`write`](Self::write), compiled for the instruction set.
    pub(crate) fn normalise(&self, x: &[T], y: &mut [T]) {
        dispatched!(
            #[inline(always)]
            || self.write(x, y),
        );
    }

    /// y for whole pixels x. To be inlined into what is compiled for the instruction set.
    #[inline(always)]
    pub(crate) fn write(&self, x: &[T], y: &mut [T]) {
        for (panel, lines) in &self.panels {
            panel.with_width(
                #[inline(always)]
                |width| {
                    panel.groups(
                        x.len(),
                        width,
                        #[inline(always)]
                        |at, width| {
                            let (x, y) = (&x[at..][..width], &mut y[at..][..width]);
                            for ((y, &x), line) in y.iter_mut().zip(x).zip(lines.lanes()) {
                                let value = line.at(x);
                                let cut = self.relu && value < T::zero();
                                *y = if cut { T::zero() } else { value };
                            }
                        },
                    );
                },
            );
        }
    }

    /// Adds Σ dy and Σ dy·(x − mean) of whole pixels, over what the ReLU lets through, to
    /// the first two sums by channel.
    pub(crate) fn add_gradient_sums(&self, x: &[T], dy: &[T], sums: &mut [f64]) {
        let layout = self.layout;
        let (by_shift, by_slope) = sums.split_at_mut(layout.channels);
        for (panel, lines) in &self.panels {
            for (x, dy) in x.chunks(layout.block).zip(dy.chunks(layout.block)) {
                let [a, b] = panel.gradient_sums(x, dy, lines, self.relu);
                layout.fold(*panel, &a, by_shift);
                layout.fold(*panel, &b, by_slope);
            }
        }
    }
}

/// dx = slope·(dy − (mean_dy + (x − mean)·tilt)) by channel, dy being what the ReLU of a
/// [`Normaliser`] lets through: the gradient of it where mean and slope depend on x.
pub(crate) struct Gradients<T> {
    /// By panel: mean_dy and tilt by lane.
    panels: Vec<[[T; LANES]; 2]>,
}

impl<T: Real> Gradients<T> {
    /// For the channels of this normaliser, with mean_dy and tilt 0.
    pub(crate) fn new(of: &Normaliser<T>) -> Self {
        Self {
            panels: vec![[[T::zero(); LANES]; 2]; of.panels.len()],
        }
    }

    /// Gives every channel its mean_dy and tilt.
    pub(crate) fn set(&mut self, of: &Normaliser<T>, of_channel: impl Fn(usize) -> [T; 2]) {
        for ((panel, _), constants) in of.panels.iter().zip(&mut self.panels) {
            for (which, constants) in constants.iter_mut().enumerate() {
                *constants = of.layout.spread(*panel, |c| of_channel(c)[which]);
            }
        }
    }

    /// [`write`](Self::write), compiled for the instruction set.
    pub(crate) fn differentiate(
        &self,
        of: &Normaliser<T>,
        operands: [&[T]; 2],
        dx: &mut [T],
        term: Term,
    ) {
        dispatched!(
            #[inline(always)]
            || self.write(of, operands, dx, term),
        );
    }

    /// dx, or dx added, for whole pixels. To be inlined into what is compiled for the
    /// instruction set.
    #[inline(always)]
    pub(crate) fn write(&self, of: &Normaliser<T>, [x, dy]: [&[T]; 2], dx: &mut [T], term: Term) {
        for ((panel, lines), [mean_dy, tilt]) in of.panels.iter().zip(&self.panels) {
            panel.with_width(
                #[inline(always)]
                |width| {
                    panel.groups(
                        x.len(),
                        width,
                        #[inline(always)]
                        |at, width| {
                            let terms = x[at..][..width].iter().zip(&dy[at..][..width]);
                            let dx = dx[at..][..width].iter_mut().zip(terms);
                            let means = mean_dy.iter().zip(tilt);
                            for (((dx, (&x, &dy)), line), (&mean_dy, &tilt)) in
                                dx.zip(lines.lanes()).zip(means)
                            {
                                let dy = line.passed(x, dy, of.relu);
                                let share = line.slope * (dy - (mean_dy + (x - line.mean) * tilt));
                                *dx = if term == Term::Further {
                                    *dx + share
                                } else {
                                    share
                                };
                            }
                        },
                    );
                },
            );
        }
    }
}
