//! The program as its users meet it: files in, files out, exit codes and messages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures;

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
         <!-- generated: section3_1/claims -->\n<!-- /generated -->\n\n\
         <!-- generated: matrix -->\n<!-- /generated -->\nend\n",
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

/// What is made of [`results`] in the section's folder.
const MADE: [&str; 4] = ["README.md", "figure3.svg", "report.html", "table2.md"];

#[test]
fn without_arguments_the_reference_is_drawn_and_named() {
    let (folder, section) = results();
    let (code, said) = run(folder.path(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("reading repro/reference\n"), "{said}");
    assert_eq!(
        names(&section),
        [
            "README.md",
            "claims.json",
            "figure3.json",
            "figure3.svg",
            "report.html",
            "table2.json",
            "table2.md"
        ]
    );
    assert_eq!(
        names(&folder.path().join("repro/reference")),
        ["README.md", "report.html", "section3_1"]
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
    assert_eq!(names(&folder.path().join("a/b/section3_1")), MADE);
    assert_eq!(
        names(&folder.path().join("a/b")),
        ["README.md", "report.html", "section3_1"]
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
    ] {
        assert!(
            table.lines().any(|l| l == line),
            "expected {line}, found {table}"
        );
    }
}

#[test]
fn a_page_has_everything_and_says_once_what_is_common() {
    let (folder, section) = results();
    run(folder.path(), &[]);
    let page = fs::read_to_string(section.join("README.md")).expect("a page");
    for part in [
        "# Section 3.1: Badly conditioned regression\n",
        "[![Three-layer perceptron on MNIST](figure3.svg)](figure3.svg)\n",
        "| L4Adam\\* | 96 | 2,341 ± 311 |",
        "**C3** reproduced: L4 reaches machine precision\n",
        "**C4** *partly on regression (reduced: 3 of 5 seeds)*: LMA needs far fewer steps\n",
        "- **does not hold:** dearer ones. As dear.",
        "- Made-up numbers, for a test.\n",
        "| mSGD | learning_rate 0.0005 |",
    ] {
        assert!(page.contains(part), "expected {part}, found {page}");
    }
    for once in [
        "Made-up numbers",
        "commit 0123456789",
        "Runs: 5 by commit unknown on a machine that was not recorded; 23.4 s of training in all.",
    ] {
        assert_eq!(page.matches(once).count(), 1, "{once}");
    }
    assert!(
        !page.contains("12.3"),
        "how long the last command took says nothing"
    );
}

#[test]
fn a_report_is_whole_in_itself() {
    let (folder, section) = results();
    let (code, said) = run(folder.path(), &["--report", "repro/reference"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "wrote repro/reference/report.html\n")
    );
    assert_eq!(names(&section).len(), 3, "nothing else is written");
    let page =
        fs::read_to_string(folder.path().join("repro/reference/report.html")).expect("a page");
    let place = |what: &str| page.find(what).unwrap_or_else(|| panic!("expected {what}"));
    assert!(place("<table class=\"matrix\">") < place("<section id=\"section3_1\">"));
    assert!(place("<a href=\"#section3_1\">3.1</a>") < place("<svg "));
    assert!(page.contains("class=\"badge partly reduced\""));
    for external in ["<script", "<link", "<img", "src=", "url("] {
        assert!(!page.contains(external), "{external}");
    }
    let outside = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(outside, 0, "no address but the name of SVG");
}

#[test]
fn publishing_a_section_writes_beside_its_results() {
    let (_folder, section) = results();
    fs::write(section.join(".figure9.svg.tmp"), "half").expect("written");
    let paths = paper_figures::publish(&section).expect("published");
    assert_eq!(paths.last(), Some(&section.join("report.html")));
    let mut made: Vec<_> = paths
        .iter()
        .map(|p| p.strip_prefix(&section).expect("inside"))
        .collect();
    made.sort();
    assert_eq!(made, MADE.map(Path::new));
    assert!(
        !names(&section).contains(&".figure9.svg.tmp".to_owned()),
        "a killed run's file is gone"
    );

    fs::write(section.join("figure4.json"), "{}").expect("written");
    let error = paper_figures::publish(&section)
        .expect_err("a broken file")
        .to_string();
    assert!(
        error.contains("figure4.json: ") && error.contains("missing field `id`"),
        "{error}"
    );
}

#[test]
fn every_page_has_the_reading_and_is_checked_against_it() {
    let (folder, section) = results();
    let reading = section.join("reading.md");
    fs::write(
        &reading,
        "C3 was {C3}: [rows](table2.md), [code](https://a.org).\n",
    )
    .expect("written");
    assert_eq!(run(folder.path(), &[]).0, 0);
    let page = |path: &Path| fs::read_to_string(path).expect("a page");
    let whole = page(&section.join("../report.html"));
    for (page, rows) in [
        (page(&section.join("README.md")), "[rows](table2.md)"),
        (
            page(&section.join("report.html")),
            "<a href=\"table2.md\">rows</a>",
        ),
        (
            whole,
            "<a href=\"section3_1/table2.md\">rows</a>, <a href=\"https://a.org\">code</a>",
        ),
    ] {
        assert!(
            page.contains("C3 was reproduced: ") && page.contains(rows),
            "{page}"
        );
    }
    let check = || run(folder.path(), &["repro/reference", "--check"]);
    assert_eq!(check(), (0, String::new()));
    fs::write(&reading, "C4 was {C4}.\n").expect("written");
    let (code, said) = check();
    assert_eq!(
        (code, said.matches("out of date").count()),
        (1, 3),
        "{said}"
    );
    fs::remove_file(&reading).expect("removed");
    assert_eq!(check().1.matches("out of date").count(), 3);
}

/// A page, a matrix or a README that lacks what could not be read would look whole.
#[test]
fn what_would_lack_something_is_left_as_it_was() {
    for (file, broken) in [
        ("reading.md", "{C9}"),
        ("claims.json", "{\"id\": "),
        ("reading.md", "**"),
    ] {
        let (folder, section) = results();
        let other = section.with_file_name("section3_2");
        fs::create_dir(&other).expect("a folder");
        write(&other, &fixtures::table2());
        let made = [
            section.join("README.md"),
            section.join("report.html"),
            section.join("../README.md"),
            section.join("../report.html"),
            folder.path().join("README.md"),
        ];
        fs::write(section.join("reading.md"), "{C3}").expect("written");
        assert_eq!(run(folder.path(), &["--readme", "README.md"]).0, 0);
        for path in &made {
            fs::write(path, "as it was").expect("written");
        }
        fs::remove_file(section.join("figure3.svg")).expect("removed");
        fs::remove_file(other.join("README.md")).expect("removed");
        fs::write(section.join(file), broken).expect("written");
        let (code, said) = run(folder.path(), &["--readme", "README.md"]);
        assert_eq!((code, said.matches("\nerror: ").count()), (1, 1), "{said}");
        assert!(said.contains(&format!("section3_1/{file}:")), "{said}");
        assert!(said.contains("README.md is left as it is"), "{said}");
        for path in &made {
            assert_eq!(
                fs::read_to_string(path).expect("there"),
                "as it was",
                "{}",
                path.display()
            );
        }
        assert!(section.join("figure3.svg").is_file() && other.join("README.md").is_file());
        let (code, said) = run(folder.path(), &["--readme", "README.md", "--check"]);
        assert_eq!((code, said.matches("\nerror: ").count()), (1, 1), "{said}");
        assert_eq!(run(folder.path(), &["--report", "repro/reference"]).0, 1);
    }
}

#[test]
fn two_that_would_be_written_to_one_place_are_refused() {
    let (folder, _) = results();
    for (place, name) in [
        ("a/section3_1", "x"),
        ("b/section3_1", "y"),
        ("d/section3_2", "y"),
    ] {
        let mut table = fixtures::table2();
        table["id"] = name.into();
        let place = folder.path().join(place);
        fs::create_dir_all(&place).expect("a folder");
        write(&place, &table);
    }
    for (paths, page) in [
        (["a/section3_1", "b/section3_1"], "out/section3_1/README.md"),
        (["a", "d"], "out/README.md"),
    ] {
        let (code, said) = run(folder.path(), &[paths[0], paths[1], "--out", "out"]);
        let expected = format!(
            "`{page}` is ambiguous: {} and {}; name only one",
            paths[0], paths[1]
        );
        assert!(code == 1 && said.contains(&expected), "{said}");
        let (code, said) = run(folder.path(), &paths);
        assert_eq!(code, 0, "beside themselves there is room: {said}");
    }
}

#[test]
fn every_file_is_checked() {
    let (folder, section) = results();
    run(folder.path(), &[]);
    let check = || run(folder.path(), &["repro/reference", "--check"]);
    assert_eq!(check(), (0, String::new()));
    for path in [
        section.join("figure3.svg"),
        section.join("README.md"),
        section.join("../README.md"),
    ] {
        let text = fs::read_to_string(&path).expect("there");
        fs::write(&path, format!("{text} ")).expect("written");
        let (code, said) = check();
        assert_eq!(code, 1);
        assert!(
            said.contains("out of date") && said.lines().count() == 1,
            "{said}"
        );
        fs::remove_file(&path).expect("removed");
        assert_eq!(check().0, 1, "{}", path.display());
        fs::write(&path, text).expect("written");
    }
    assert_eq!(check().0, 0);
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
    assert!(section.join("figure3.svg").is_file() && section.join("table2.md").is_file());
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
    for arguments in [
        &["--no-such-option"][..],
        &["--out"],
        &["--schema", "--check"],
    ] {
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
    let link = "[![Three-layer perceptron on MNIST](repro/reference/section3_1/figure3.svg)]\
                (repro/reference/section3_1/figure3.svg)";
    assert!(text.contains(link), "{text}");
    assert!(
        text.contains("n = 5") && !text.contains("commit 0123456789"),
        "{text}"
    );
    let matrix = "|  | Claim | [3.1](repro/reference/section3_1/README.md) |";
    assert!(text.contains(matrix), "{text}");
    assert!(
        text.starts_with("# Title\n") && text.ends_with("\nend\n") && !text.contains("\nold\n"),
        "{text}"
    );

    let expected = "reading repro/reference\nREADME.md is up to date\n".to_owned();
    assert_eq!(check(), (0, expected));
    let (_, said) = run(folder.path(), &["--readme", "README.md"]);
    assert!(said.contains("README.md was up to date"), "{said}");

    let mut newer = fixtures::table2();
    newer["rows"][0]["steps"]["mean"] = 2000.0.into();
    write(&section, &newer);
    let (code, said) = check();
    assert_eq!(code, 1, "the results changed");
    for file in ["README.md", "table2.md", "section3_1/README.md"] {
        assert!(said.contains(&format!("{file}: out of date")), "{said}");
    }
    assert!(
        said.contains("cargo run -p paper-figures -- --readme README.md`"),
        "{said}"
    );
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

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (folder, _) = results();
    for arguments in [&[][..], &["--schema"], &["--help"]] {
        let written_to = |stdout: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_paper-figures"));
            let child = command.args(arguments).current_dir(folder.path());
            let child = child.stdout(stdout).stderr(Stdio::piped()).spawn();
            let output = child.and_then(|child| child.wait_with_output());
            let Output { status, stderr, .. } = output.expect("it runs");
            (status.code(), String::from_utf8(stderr).expect("UTF-8"))
        };
        let (_, gone) = std::io::pipe().expect("a pipe");
        assert_eq!(written_to(gone.into()), (Some(0), String::new()));
        #[cfg(target_os = "linux")]
        {
            let full = fs::OpenOptions::new().write(true).open("/dev/full");
            let (code, said) = written_to(full.expect("a full device").into());
            assert_eq!(code, Some(1), "{arguments:?}");
            let expected = "error: standard output: cannot write it: No space left";
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[cfg(unix)]
mod on_unix {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, process::ExitStatusExt},
    };

    use super::*;

    fn fifo(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    }

    /// Opening one would wait for another process for ever.
    #[test]
    fn pipes_in_place_of_files_are_not_opened() {
        let (folder, section) = results();
        for path in [
            section.join("figure4.json"),
            section.join(".table2.md.tmp"),
            section.join("report.html"),
            folder.path().join("x.md"),
        ] {
            fifo(&path);
        }
        let (code, said) = run(folder.path(), &[]);
        assert_eq!(code, 1);
        let refused = |name: &str| format!("{name}: cannot read it: expected a regular file");
        assert!(said.contains(&refused("figure4.json")), "{said}");
        assert!(section.join("table2.md").is_file());
        assert!(!names(&section).contains(&".table2.md.tmp".to_owned()));
        let (code, said) = run(folder.path(), &["--check"]);
        assert_eq!((code, said.matches("error: ").count()), (1, 1), "{said}");

        fs::remove_file(section.join("figure4.json")).expect("removed");
        fifo(&section.join("reading.md"));
        let (_, said) = run(folder.path(), &[]);
        assert!(said.contains(&refused("reading.md")), "{said}");
        fs::remove_file(section.join("reading.md")).expect("removed");
        let (code, said) = run(folder.path(), &["--readme", "x.md"]);
        assert!(code == 1 && said.contains(&refused("x.md")), "{said}");
    }

    /// Such as `lost+found`. Whoever may read everything sees no such folder.
    #[test]
    fn a_folder_that_cannot_be_read_is_named_and_the_others_are_drawn() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, section) = results();
        let lost = folder.path().join("repro/reference/lost+found");
        fs::create_dir(&lost).expect("a folder");
        let permit =
            |mode| fs::set_permissions(&lost, fs::Permissions::from_mode(mode)).expect("set");
        permit(0o000);
        if fs::read_dir(&lost).is_err() {
            assert!(paper_figures::has_results(
                &folder.path().join("repro/reference")
            ));
            let (code, said) = run(folder.path(), &["repro/reference"]);
            assert_eq!((code, said.matches("error: ").count()), (1, 1), "{said}");
            assert!(said.contains("lost+found: cannot read it"), "{said}");
            assert!(section.join("README.md").is_file(), "{said}");
            fs::remove_dir_all(&section).expect("removed");
            let (_, said) = run(folder.path(), &["repro/reference"]);
            assert!(
                said.contains("lost+found: cannot read it") && !said.contains("found none"),
                "{said}"
            );
        }
        permit(0o700);
    }

    #[test]
    fn what_a_killed_run_left_the_next_removes() {
        let (folder, section) = results();
        // The system ends whoever writes more than 512 bytes to a file.
        let killed = Command::new("sh")
            .args(["-c", "ulimit -c 0; ulimit -f 1; exec \"$0\""])
            .arg(env!("CARGO_BIN_EXE_paper-figures"))
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        assert!(killed.status.signal().is_some(), "{killed:?}");
        let left = names(&section);
        assert!(left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");

        let of_readme = folder.path().join(".README.md.tmp");
        for _ in 0..2 {
            fs::write(&of_readme, "half").expect("written");
            let (code, said) = run(folder.path(), &["--readme", "README.md"]);
            assert_eq!(code, 0, "{said}");
            assert!(!of_readme.exists(), "{said}");
            let left = names(&section);
            assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
        }
    }

    #[test]
    fn paths_need_not_be_unicode() {
        let (folder, section) = results();
        let odd = OsStr::from_bytes(b"odd\xff");
        let odd_run = |arguments: &[&OsStr]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_paper-figures"));
            let command = command.args(arguments).current_dir(folder.path());
            command.output().expect("it runs").status.code()
        };
        let out = OsStr::new("--out");
        assert_eq!(odd_run(&[section.as_os_str(), out, odd]), Some(0));
        assert!(
            folder
                .path()
                .join(odd)
                .join("section3_1/table2.md")
                .is_file()
        );
        assert_eq!(odd_run(&[OsStr::from_bytes(b"none\xff")]), Some(1));
        fs::rename(&section, section.with_file_name(odd)).expect("renamed");
        assert_eq!(odd_run(&[]), Some(0));
    }
}
