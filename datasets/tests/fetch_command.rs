//! The `fetch` command as a user meets it. Nothing here reaches for the network.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::{Compression, write::GzEncoder};

fn fetch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    command
        .args(arguments)
        .env_remove("L4_DATA")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Files of MNIST's sizes with nothing but zeros in them.
fn write_blank_mnist(folder: &Path) {
    for (part, examples) in [("train", 60_000u32), ("t10k", 10_000)] {
        let images = [0x803, examples, 28, 28].map(u32::to_be_bytes).concat();
        let labels = [0x801, examples].map(u32::to_be_bytes).concat();
        let files = [("images-idx3", images, 784), ("labels-idx1", labels, 1)];
        for (name, header, size) in files {
            let file = fs::File::create(folder.join(format!("{part}-{name}-ubyte.gz"))).unwrap();
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(&header).unwrap();
            encoder
                .write_all(&vec![0; examples as usize * size])
                .unwrap();
            encoder.finish().unwrap();
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&[][..], &["imagenet"], &["mnist", "--no-such-option"]] {
        let output = fetch(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(
            text(&output.stderr).contains("try '--help'"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_failure_exits_with_1_and_says_why() {
    let output = fetch(&["mnist", "--data", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("/no/such/folder: expected a directory"));
}

/// With nothing in the variable and nothing to be had, the cache is where it fails.
#[test]
fn an_empty_variable_names_no_directory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"not a folder").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    let command = command.args(["mnist", "--cache"]).arg(&file);
    let output = command.env("L4_DATA", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains("cannot create") && message.contains(file.to_str().unwrap()),
        "{message}"
    );
}

#[test]
fn other_bytes_are_refused_unless_accepted() {
    let folder = tempfile::tempdir().unwrap();
    write_blank_mnist(folder.path());
    let data = folder.path().to_str().unwrap();

    let refused = fetch(&["mnist", "--data", data]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    let message = text(&refused.stderr);
    // The digest of the real training images.
    let published = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db";
    for part in [
        "train-images-idx3-ubyte.gz",
        published,
        "--allow-unverified",
    ] {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }

    let accepted = fetch(&["mnist", "--data", data, "--allow-unverified"]);
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}",
        text(&accepted.stderr)
    );
    let listing = text(&accepted.stdout);
    assert!(
        listing.contains("MNIST (unverified): 60000 training and 10000 test images"),
        "{listing}"
    );
    assert_eq!(listing.matches("UNVERIFIED").count(), 4);
}
