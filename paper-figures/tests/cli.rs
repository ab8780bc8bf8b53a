//! The program as its users meet it: files in, files out, exit codes and messages.

mod fixtures;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with one section's results and a README that shows them.
fn results() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let section = folder.path().join("repro/reference/section3_1");
    fs::create_dir_all(&section).expect("a folder");
    for file in [fixtures::figure3(), fixtures::table2(), fixtures::claims()] {
        write(&section, &file);
    }
    fs::write(folder.path().join("Cargo.lock"), "").expect("written");
    fs::write(
        folder.path().join("README.md"),
        "# Title\n\n<!-- generated: section3_1/table2 -->\nold\n<!-- /generated -->\n\n\
         <!--generated:section3_1/figure3-->\n<!-- /generated -->\n\n\
         <!-- generated: section3_1/claims -->\n<!-- /generated -->\nend\n",
    )
    .expect("written");
    (folder, section)
}

fn write(section: &Path, file: &Value) {
    let name = format!("{}.json", file["id"].as_str().expect("an id"));
    fs::write(section.join(name), file.to_string()).expect("written");
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_paper-figures");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    let said = [stdout, stderr]
        .map(|text| String::from_utf8(text).expect("UTF-8"))
        .concat();
    assert!(!said.contains("panicked"), "{said}");
    (status.code().expect("an exit code"), said)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn without_arguments_the_reference_is_drawn_and_named() {
    let (folder, section) = results();
    let (code, said) = run(folder.path(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("reading repro/reference\n"), "{said}");
    assert_eq!(
        names(&section),
        [
            "claims.json",
            "claims.md",
            "figure3.json",
            "figure3.png",
            "figure3.svg",
            "table2.json",
            "table2.md"
        ]
    );
}

#[test]
fn own_results_go_before_the_reference() {
    let (folder, section) = results();
    let own = folder.path().join("repro/out/section3_1");
    fs::create_dir_all(&own).expect("a folder");
    let (_, said) = run(folder.path(), &[]);
    assert!(
        said.contains("reading repro/reference\n"),
        "repro/out holds no results: {said}"
    );
    write(&own, &fixtures::table2());
    let (_, said) = run(&section, &[]);
    assert!(
        said.contains("repro/out\n"),
        "found from a folder further down: {said}"
    );
    assert!(own.join("table2.md").is_file());
}

#[test]
fn out_keeps_the_sections_apart() {
    let (folder, section) = results();
    let (code, said) = run(folder.path(), &["repro/reference", "--out", "a/b"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        names(&folder.path().join("a/b/section3_1")),
        ["claims.md", "figure3.png", "figure3.svg", "table2.md"]
    );
    assert_eq!(names(&section).len(), 3, "nothing beside the results");
}

#[test]
fn tables_and_claims_are_rendered() {
    let (folder, section) = results();
    run(folder.path(), &[]);
    let table = fs::read_to_string(section.join("table2.md")).expect("a table");
    for line in [
        "| method | weights | steps to 1e-10 | time (s) |",
        "| --- | ---: | ---: | ---: |",
        "| L4Adam\\* | 96 | 2,341 ± 311 | 0.0431 ± 0.0061 |",
        "| L4Mom\\* | 96 | 8,210 ± 1,203 (n = 3; 2/5 not reached) | (1.50 ± 0.20)×10⁻⁵ |",
        "| LMA\\* | 384 | 12.4 ± 1.1 | – (n = 0; 4/5 not reached; 1/5 diverged) |",
        "| a\\|b | – | 17 | 0.15 |",
        "Deviations from the protocol: Made-up numbers, for a test.",
    ] {
        assert!(
            table.lines().any(|l| l == line),
            "expected {line}, found {table}"
        );
    }
    let claims = fs::read_to_string(section.join("claims.md")).expect("claims");
    assert!(
        claims.contains("| C4 | LMA needs far fewer steps | partly | made up |"),
        "{claims}"
    );
}

#[test]
fn a_bad_file_is_named_and_the_good_ones_are_drawn() {
    let (folder, section) = results();
    fs::write(section.join("figure4.json"), "{\"id\": ").expect("written");
    let (code, said) = run(folder.path(), &["repro/reference", "missing.json"]);
    assert_eq!(code, 1);
    let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 2, "{said}");
    assert!(errors[0].contains("figure4.json: expected JSON"), "{said}");
    assert!(errors[1].contains("missing.json: cannot read it"), "{said}");
    assert!(section.join("figure3.png").is_file() && section.join("table2.md").is_file());
    assert!(!section.join("figure4.svg").exists());
}

#[test]
fn an_unwritable_place_is_named_and_leaves_nothing_behind() {
    let (folder, _) = results();
    fs::write(folder.path().join("file"), "kept").expect("written");
    let (code, said) = run(folder.path(), &["repro/reference", "--out", "file"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("file/section3_1/table2.md: cannot write it"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("file")).expect("still there"),
        "kept"
    );
}

#[test]
fn usage_errors_are_exit_code_2() {
    let (folder, _) = results();
    for arguments in [&["--check"][..], &["--no-such-option"], &["--out"]] {
        assert_eq!(run(folder.path(), arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn a_directory_without_results_says_what_was_expected() {
    let (folder, _) = results();
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let (code, said) = run(folder.path(), &["empty"]);
    assert_eq!(code, 1);
    assert!(said.contains("empty: expected result files"), "{said}");
}

#[test]
fn the_readme_is_brought_up_to_date_once_and_checked() {
    let (folder, section) = results();
    let readme = folder.path().join("README.md");
    let check = || run(folder.path(), &["--readme", "README.md", "--check"]);
    let (code, said) = check();
    assert_eq!(code, 1);
    assert!(said.contains("README.md: out of date"), "{said}");
    assert!(
        !section.join("figure3.svg").exists(),
        "--check writes nothing"
    );

    let (code, said) = run(folder.path(), &["--readme", "README.md"]);
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(&readme).expect("a README");
    assert!(text.contains("| L4Adam\\* | 96 | 2,341 ± 311 |"), "{text}");
    let link = "[![Three-layer perceptron on MNIST](repro/reference/section3_1/figure3.png)]\
                (repro/reference/section3_1/figure3.svg)";
    assert!(text.contains(link), "{text}");
    assert!(
        text.contains("n = 5") && text.contains("commit 0123456789"),
        "{text}"
    );
    assert!(
        text.starts_with("# Title\n") && text.ends_with("\nend\n") && !text.contains("old"),
        "{text}"
    );

    assert_eq!(
        check(),
        (
            0,
            "reading repro/reference\nREADME.md is up to date\n".to_owned()
        )
    );
    let (_, said) = run(folder.path(), &["--readme", "README.md"]);
    assert!(said.contains("README.md was up to date"), "{said}");

    let mut newer = fixtures::table2();
    newer["rows"][0]["steps"]["mean"] = 2000.0.into();
    write(&section, &newer);
    assert_eq!(check().0, 1, "the results changed");
    write(&section, &fixtures::table2());
    fs::remove_file(section.join("figure3.png")).expect("removed");
    let (code, said) = check();
    assert_eq!(code, 1);
    assert!(said.contains("figure3.png, which does not exist"), "{said}");
}

#[test]
fn a_marker_without_results_leaves_the_readme_as_it_was() {
    let (folder, _) = results();
    let readme = folder.path().join("README.md");
    let text = "<!-- generated: section3_1/claims -->\n<!-- /generated -->\n\n<!-- generated: section9/x -->\n<!-- /generated -->\n";
    fs::write(&readme, text).expect("written");
    let (code, said) = run(folder.path(), &["--readme", "README.md"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("README.md:4: expected one of the results read (section3_1/claims"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&readme).expect("a README"), text);
}

#[test]
fn two_results_with_one_name_are_refused() {
    let (folder, _) = results();
    let other = folder.path().join("other/section3_1");
    fs::create_dir_all(&other).expect("a folder");
    write(&other, &fixtures::table2());
    let (code, said) = run(folder.path(), &["repro/reference", "other"]);
    assert_eq!(code, 1);
    assert!(said.contains("`section3_1/table2` is ambiguous"), "{said}");
}

#[cfg(unix)]
#[test]
fn written_files_have_usual_permissions_and_kept_ones_their_own() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, section) = results();
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    let usual = mode(&section.join("table2.json"));
    let readme = folder.path().join("README.md");
    fs::set_permissions(&readme, fs::Permissions::from_mode(0o640)).expect("set");
    run(folder.path(), &["--readme", "README.md"]);
    assert_eq!(mode(&section.join("table2.md")), usual);
    assert_eq!(mode(&readme), 0o640);
}
