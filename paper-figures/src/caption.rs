//! The words under a figure or table: what it shows, over how many runs, what departs from the protocol, and where the
//! numbers come from. Plain text; [`markdown`](crate::markdown) escapes it.

use crate::results::{Axes, BandKind, DataFile, DataSet, Figure, Header, Provenance, Series};

/// Characters of a digest or commit that identify it to a reader.
const SHORT_DIGEST: usize = 10;

/// A figure's caption.
pub fn figure(figure: &Figure) -> String {
    let header = &figure.header;
    let Figure { axes, series, .. } = figure;
    let runs = by_panel(axes, series, |s| s.n.to_string());
    let bands = by_panel(axes, series, |s| band(s.band).to_owned());
    let mut sentences = vec![
        sentence(&header.title),
        format!("Lines: mean of n = {runs} runs; band: {bands}."),
    ];
    let ended = figure.series.iter().any(|s| !s.diverged.is_empty());
    if ended {
        sentences.push(
            "Diverged runs count up to where they diverged; the legend says how many did."
                .to_owned(),
        );
    }
    sentences.extend(footer(header));
    sentences.join(" ")
}

fn band(kind: BandKind) -> &'static str {
    match kind {
        BandKind::Range => "from the least to the greatest run",
        BandKind::Std => "one standard deviation to either side",
        BandKind::ShortTermRange => "from the least to the greatest value nearby",
        BandKind::None => "none",
    }
}

/// What the caption of a figure and the foot of a table share: deviations, preset and provenance, as sentences.
pub fn footer(header: &Header) -> Vec<String> {
    vec![deviations(header), provenance(header)]
}

fn deviations(header: &Header) -> String {
    if header.deviations.is_empty() {
        return "Deviations from the protocol: none.".to_owned();
    }
    let all: Vec<String> = header.deviations.iter().map(|d| sentence(d)).collect();
    format!("Deviations from the protocol: {}", all.join(" "))
}

fn provenance(header: &Header) -> String {
    let p = &header.provenance;
    let preset = format!("preset {}, ", header.protocol.preset);
    let jobs = if p.jobs == 1 {
        "one run at a time".to_owned()
    } else {
        format!("{} runs at a time", p.jobs)
    };
    let threads = match p.threads {
        1 => String::new(),
        threads => format!(" on {threads} threads each"),
    };
    format!(
        "Data: {}. Measured with {preset}version {}, {}, {}, {} ({}), {jobs}{threads}, begun {}, {:.1} s.",
        data(&p.data),
        p.project_version,
        commits(p),
        p.compiler,
        p.cpu,
        p.simd,
        p.started,
        p.wall_seconds,
    )
}

/// The data set with its digests, and a plain word about a file that is not the known one.
fn data(dataset: &DataSet) -> String {
    let file = |f: &DataFile| {
        let doubt = if f.verified { "" } else { ", not verified" };
        format!("{} {}…{doubt}", f.name, short(&f.sha256))
    };
    let files: Vec<String> = dataset.files.iter().map(file).collect();
    if files.is_empty() {
        dataset.name.clone()
    } else {
        format!("{} (SHA-256: {})", dataset.name, files.join("; "))
    }
}

fn commits(p: &Provenance) -> String {
    let commit = format!("commit {}", short_commit(&p.git_commit));
    let others: Vec<String> = p.other_commits.iter().map(|c| short_commit(c)).collect();
    if others.is_empty() {
        commit
    } else {
        format!("{commit} (some runs by {})", others.join(", "))
    }
}

/// A commit's first digits, and what is said about it after them, such as `-dirty`.
fn short_commit(commit: &str) -> String {
    let (digits, remark) = commit
        .find('-')
        .map_or((commit, ""), |at| commit.split_at(at));
    short(digits) + remark
}

/// A property of the series: said once where all panels agree on it, else panel by panel.
fn by_panel(axes: &[Axes], series: &[Series], property: impl Fn(&Series) -> String) -> String {
    let said: Vec<(&str, String)> = axes
        .iter()
        .map(|axes| {
            (
                axes.panel.as_str(),
                series.iter().filter(|s| s.panel == axes.panel),
            )
        })
        .map(|(panel, series)| (panel, by_method(series, &property)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    match said.as_slice() {
        [(_, first), rest @ ..] if rest.iter().all(|(_, text)| text == first) => first.clone(),
        _ => said
            .iter()
            .map(|(panel, text)| format!("({panel}) {text}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The first series' property, with the methods that differ by name.
fn by_method<'a>(
    series: impl Iterator<Item = &'a Series>,
    property: impl Fn(&Series) -> String,
) -> String {
    let mut all = series.map(|s| (&s.method, property(s)));
    let Some((_, usual)) = all.next() else {
        return String::new();
    };
    let exceptions: Vec<String> = all
        .filter(|(_, value)| *value != usual)
        .map(|(method, value)| format!("{method}: {value}"))
        .collect();
    if exceptions.is_empty() {
        usual
    } else {
        format!("{usual} ({})", exceptions.join("; "))
    }
}

/// `text` with a full stop, unless it ends in some punctuation already.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT_DIGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Axis, Scale, Style};

    #[test]
    fn a_commit_keeps_its_remark() {
        assert_eq!(short_commit("0123456789abcdef-dirty"), "0123456789-dirty");
        assert_eq!(short_commit("unknown"), "unknown");
    }

    #[test]
    fn threads_are_named_where_a_run_has_more_than_one() {
        let said = |threads: Option<u64>| {
            let mut header = serde_json::json!({
                "id": "x", "title": "x", "section": "3.3",
                "protocol": {"preset": "paper", "seeds": [], "hyperparameters": {}}, "deviations": [],
                "provenance": {
                    "project_version": "0", "git_commit": "unknown", "compiler": "rustc", "cpu": "CPU", "simd": "AVX2",
                    "jobs": 1, "data": {"name": "x", "files": []}, "started": "then", "wall_seconds": 1.0,
                    "run_seconds": 2.0
                }
            });
            if let Some(threads) = threads {
                header["provenance"]["threads"] = threads.into();
            }
            provenance(&serde_json::from_value(header).unwrap())
        };
        assert!(said(Some(2)).contains("one run at a time on 2 threads each, begun"));
        assert!(said(Some(1)).contains("one run at a time, begun"));
        assert_eq!(said(None), said(Some(1)));
    }

    #[test]
    fn data_that_is_not_the_known_one_is_called_so() {
        let file = |verified| DataFile {
            name: "x.gz".into(),
            sha256: "0123456789abcdef".into(),
            verified,
        };
        let files = vec![file(true), file(false)];
        let text = data(&DataSet {
            name: "mnist".into(),
            files,
        });
        assert_eq!(
            text,
            "mnist (SHA-256: x.gz 0123456789…; x.gz 0123456789…, not verified)"
        );
        assert_eq!(
            data(&DataSet {
                name: "regression".into(),
                files: vec![]
            }),
            "regression"
        );
    }

    #[test]
    fn what_differs_is_said_of_the_panel_or_the_method_it_differs_for() {
        let axes = |panel: &str| {
            let axis = Axis {
                name: "x".into(),
                scale: Scale::Linear,
            };
            Axes {
                panel: panel.into(),
                title: String::new(),
                x: axis.clone(),
                y: axis,
            }
        };
        let series = |panel: &str, method: &str, n| Series {
            n,
            ..Series::computed(panel, method, Style::Curve, &[])
        };
        let said = |series: Vec<Series>| {
            let axes = ["a", "b", "c"].map(axes);
            by_panel(&axes, &series, |s| s.n.to_string())
        };
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("b", "Adam", 5)]),
            "5"
        );
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("b", "Adam", 3)]),
            "(a) 5, (b) 3"
        );
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("a", "LMA*", 3)]),
            "5 (LMA*: 3)"
        );
    }

    #[test]
    fn sentences_end_once() {
        assert_eq!(sentence("A"), "A.");
        assert_eq!(sentence("A. "), "A.");
    }
}
