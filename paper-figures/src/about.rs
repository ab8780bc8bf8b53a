//! What is to be known about the results of a page, said once on it: what departs from the protocol, the settings, and where
//! the numbers come from.

use crate::{
    caption::sentence,
    document::{Block, Grid, Line, Span, plain},
    number,
    results::{DataFile, DataSet, Header, Provenance, RunsBy},
};

/// Characters of a digest or commit that identify it to a reader.
const SHORT_DIGEST: usize = 10;

/// Deviations, settings and provenance of results with these headers.
pub fn blocks(headers: &[&Header]) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "Deviations from the protocol".to_owned())];
    let deviations = deviations(headers);
    if deviations.is_empty() {
        blocks.push(Block::Text(plain("None.")));
    } else {
        blocks.push(Block::List(deviations.into_iter().map(plain).collect()));
    }
    blocks.extend(settings(headers));
    blocks.push(Block::Heading(2, "Provenance".to_owned()));
    blocks.extend(provenance(headers));
    blocks
}

/// Every sentence once. A file that joins several tasks says of which each is (`MNIST: …`): that says the plain sentence too.
fn deviations(headers: &[&Header]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for deviation in headers.iter().flat_map(|header| &header.deviations) {
        let deviation = sentence(deviation);
        if all.iter().any(|known| known.ends_with(&deviation)) {
            continue;
        }
        all.retain(|known| !deviation.ends_with(known.as_str()));
        all.push(deviation);
    }
    all
}

/// The hyperparameters by method, of the file that names the most, which a section's claims do.
fn settings(headers: &[&Header]) -> Option<Block> {
    let header = headers
        .iter()
        .max_by_key(|header| header.protocol.hyperparameters.len())?;
    let methods = &header.protocol.hyperparameters;
    if methods.is_empty() {
        return None;
    }
    let row = |(method, settings): (&String, &serde_json::Map<String, serde_json::Value>)| {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name} {}", stated(value)));
        vec![
            plain(method),
            plain(settings.collect::<Vec<_>>().join(", ")),
        ]
    };
    Some(Block::Details {
        summary: "Settings of each method".to_owned(),
        blocks: vec![Block::Table {
            title: "Settings".to_owned(),
            grid: Grid::of_text(&["Method", "Settings"], methods.iter().map(row).collect()),
        }],
    })
}

/// A paragraph for each command that wrote any of the results, which names them unless all are of one.
fn provenance(headers: &[&Header]) -> Vec<Block> {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for header in headers {
        let text = measured(header);
        match said.iter_mut().find(|(known, _)| *known == text) {
            Some((_, ids)) => ids.push(&header.id),
            None => said.push((text, vec![&header.id])),
        }
    }
    let alone = said.len() == 1;
    let line = |(text, ids): (String, Vec<&str>)| -> Line {
        match alone {
            true => plain(text),
            false => vec![
                Span::Strong(format!("{}:", ids.join(", "))),
                Span::Text(format!(" {text}")),
            ],
        }
    };
    said.into_iter()
        .map(|said| Block::Text(line(said)))
        .collect()
}

fn measured(header: &Header) -> String {
    let p = &header.provenance;
    let jobs = match p.jobs {
        1 => "one run at a time".to_owned(),
        jobs => format!("at most {jobs} runs at a time"),
    };
    let threads = match p.threads {
        1 => String::new(),
        threads => format!(" on {threads} threads each"),
    };
    format!(
        "Data: {}. Run with {}.{} Written by version {}, commit {}, {}, on {} ({}), {jobs}{threads}, begun {}.",
        data(&p.data),
        protocol(header),
        runs(p),
        p.project_version,
        short_commit(&p.git_commit),
        p.compiler,
        p.cpu,
        p.simd,
        p.started,
    )
}

/// By what the runs were computed, and how long that took: not by the command that wrote the file, where it found them.
fn runs(p: &Provenance) -> String {
    if p.runs.is_empty() {
        return String::new();
    }
    let by = |runs: &RunsBy| {
        let machine = runs.machine.as_deref();
        let machine = machine.unwrap_or("a machine that was not recorded");
        let commit = short_commit(&runs.commit);
        format!("{} by commit {commit} on {machine}", runs.count)
    };
    let by: Vec<String> = p.runs.iter().map(by).collect();
    let time = number::duration(p.run_seconds);
    format!(" Runs: {}; {time} of training in all.", by.join("; "))
}

/// The preset and what it comes to.
fn protocol(header: &Header) -> String {
    let p = &header.protocol;
    let mut parts = vec![format!("preset {}", p.preset)];
    match p.seeds.as_slice() {
        [] => {}
        [seed] => parts.push(format!("seed {seed}")),
        seeds => parts.push(format!("{} seeds", seeds.len())),
    }
    for (length, unit) in [
        (p.epochs, "epochs"),
        (p.steps, "steps"),
        (p.examples, "examples"),
    ] {
        parts.extend(length.map(|n| format!("{} {unit}", number::exact(n as f64))));
    }
    parts.extend(p.batch.map(|n| format!("batch {n}")));
    match parts.as_slice() {
        [preset] => preset.clone(),
        [preset, rest @ ..] => format!("{preset} ({})", rest.join(", ")),
        [] => String::new(),
    }
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

/// A commit's first digits, and what is said about it after them, such as `-dirty`.
fn short_commit(commit: &str) -> String {
    let (digits, remark) = commit
        .find('-')
        .map_or((commit, ""), |at| commit.split_at(at));
    short(digits) + remark
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT_DIGEST).collect()
}

/// What a file states as JSON, whichever form it has, as `name: value` pairs.
pub fn stated(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let pairs = fields
                .iter()
                .map(|(name, v)| format!("{name}: {}", nested(v)));
            pairs.collect::<Vec<_>>().join("; ")
        }
        Value::Array(items) => items.iter().map(nested).collect::<Vec<_>>().join(", "),
        Value::Number(n) => n.as_f64().map_or(n.to_string(), number::exact),
        other => other.to_string(),
    }
}

fn nested(value: &serde_json::Value) -> String {
    if value.is_object() {
        format!("({})", stated(value))
    } else {
        stated(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(change: impl FnOnce(&mut serde_json::Value)) -> Header {
        let mut header = serde_json::json!({
            "id": "x", "title": "x", "section": "3.3",
            "protocol": {"preset": "paper", "seeds": [0, 1], "epochs": 12, "batch": 64, "hyperparameters": {}},
            "deviations": [],
            "provenance": {
                "project_version": "0", "git_commit": "unknown", "compiler": "rustc", "cpu": "CPU", "simd": "AVX2",
                "jobs": 1, "data": {"name": "x", "files": []}, "started": "then", "wall_seconds": 1.0,
                "run_seconds": 12_600.0
            }
        });
        change(&mut header);
        serde_json::from_value(header).expect("a header")
    }

    #[test]
    fn the_protocol_is_named() {
        let text = measured(&header(|_| {}));
        assert!(
            text.contains(
                "Run with preset paper (2 seeds, 12 epochs, batch 64). Written by version 0"
            ),
            "{text}"
        );
    }

    #[test]
    fn threads_are_named_where_a_run_has_more_than_one() {
        let said =
            |threads: u64| measured(&header(|h| h["provenance"]["threads"] = threads.into()));
        assert!(said(2).contains("one run at a time on 2 threads each, begun"));
        assert!(said(1).contains("one run at a time, begun"));
    }

    #[test]
    fn data_that_is_not_the_known_one_is_called_so() {
        let file = |verified| DataFile {
            name: "x.gz".into(),
            sha256: "0123456789abcdef".into(),
            verified,
        };
        let text = data(&DataSet {
            name: "mnist".into(),
            files: vec![file(true), file(false)],
        });
        assert_eq!(
            text,
            "mnist (SHA-256: x.gz 0123456789…; x.gz 0123456789…, not verified)"
        );
        assert_eq!(data(&DataSet::generated("regression")), "regression");
    }

    /// The machine that writes a file need not have trained anything.
    #[test]
    fn runs_are_of_their_own_code_and_machine() {
        let runs = serde_json::json!([
            {"count": 7, "commit": "0123456789abcdef"},
            {"count": 1, "commit": "unknown", "machine": "Y (SSE2)"}
        ]);
        let text = measured(&header(|h| h["provenance"]["runs"] = runs));
        let said = " Runs: 7 by commit 0123456789 on a machine that was not recorded; 1 by commit unknown on Y (SSE2); 3.5 h of \
                    training in all. Written by version 0, commit unknown, rustc, on CPU (AVX2), one run";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn a_commit_keeps_its_remark() {
        assert_eq!(short_commit("0123456789abcdef-dirty"), "0123456789-dirty");
        assert_eq!(short_commit("unknown"), "unknown");
    }

    #[test]
    fn a_deviation_is_said_once_and_with_its_task() {
        let with = |sentences: &[&str]| header(|h| h["deviations"] = serde_json::json!(sentences));
        let (all, one) = (
            with(&["MNIST: All 60,000 images.", "Fewer seeds"]),
            with(&["All 60,000 images."]),
        );
        let expected = ["MNIST: All 60,000 images.", "Fewer seeds."];
        assert_eq!(deviations(&[&all, &one]), expected);
        let other_order = deviations(&[&one, &all]);
        assert_eq!(other_order, expected);
    }

    #[test]
    fn commands_are_told_apart_by_what_they_wrote() {
        let of = |id: &str, started: &str| {
            header(|h| {
                h["id"] = id.into();
                h["provenance"]["started"] = started.into();
            })
        };
        let (a, b, c) = (of("a", "now"), of("b", "now"), of("c", "then"));
        assert_eq!(provenance(&[&a, &b]).len(), 1);
        let text = crate::document::markdown::render(&provenance(&[&a, &b, &c]));
        assert!(text.starts_with("**a, b:** Data"), "{text}");
        assert!(text.contains("**c:** Data"), "{text}");
    }

    #[test]
    fn the_papers_statement_is_readable_in_any_form() {
        let value = serde_json::json!({"LMA*": {"96": 12, "192": null}, "note": "about"});
        assert_eq!(stated(&value), "LMA*: (96: 12; 192: null); note: about");
    }
}
