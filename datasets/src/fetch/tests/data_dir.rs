//! The data directory.

use std::fs;

use super::*;
use crate::formats::gzip;

#[test]
fn a_data_directory_may_be_laid_out_in_several_ways() {
    for folder in ["data", "data/mnist", "data/MNIST/raw"] {
        for suffix in ["", ".gz"] {
            for idx in ["-idx", ".idx"] {
                let folders = Folders::new();
                for (name, content) in small_files() {
                    let name = name.replace("-idx", idx);
                    let content = if suffix.is_empty() {
                        content
                    } else {
                        gzip(&content)
                    };
                    folders.write(&format!("{folder}/{name}{suffix}"), &content);
                }
                let data = folders.find(&small_spec(vec![])).unwrap();
                assert_is_small_data(&data);
                assert_eq!(
                    data.provenance.origin,
                    Origin::DataDirectory(folders.path(folder))
                );
            }
        }
    }
}

#[test]
fn a_data_directory_that_is_not_there_is_an_error() {
    let folders = Folders::new();
    let options = Options {
        data_dir: Some(folders.path("nowhere")),
        ..folders.options(Unverified::Refuse)
    };
    let error = find(
        &small_spec(vec![]),
        &options,
        &http::Client::new(),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(&error, DataError::NoDataDirectory { path } if *path == folders.path("nowhere"))
    );
}

#[test]
fn a_data_directory_with_some_of_the_files_is_an_error() {
    let folders = Folders::new();
    folders.write_all("data");
    fs::remove_file(folders.path("data").join(TRAIN_LABELS)).unwrap();
    // A folder is not a file, whatever its name.
    fs::remove_file(folders.path("data").join(TEST_IMAGES)).unwrap();
    fs::create_dir(folders.path("data").join(TEST_IMAGES)).unwrap();
    let error = folders.find(&small_spec(vec![])).unwrap_err();
    let DataError::Incomplete { missing, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(missing, &[TRAIN_LABELS, TEST_IMAGES]);
}

#[test]
fn a_data_directory_without_the_data_set_is_passed_over() {
    let folders = Folders::new();
    folders.write("data/readme", b"");
    folders.write_all("system");
    let mut spec = small_spec(vec![]);
    spec.system_dirs = vec![folders.path("system")];
    let data = folders.find(&spec).unwrap();
    assert_is_small_data(&data);
    assert_eq!(
        data.provenance.origin,
        Origin::System(folders.path("system"))
    );
}

/// Every kind of damage is an error that names the file, what was expected and what was found,
/// accepted or not.
#[test]
fn damaged_files_are_named_errors() {
    let [images, labels, ..] = small_files().map(|(_, content)| content);
    let with = |content: &[u8], at: usize, byte: u8| {
        let mut content = content.to_vec();
        content[at] = byte;
        content
    };
    let bomb = gzip(&vec![0; 5_000_000]);
    let zipped = gzip(&images);
    let expects_images = "expected 15696 bytes";
    let cases = [
        ("empty", TRAIN_IMAGES, vec![], expects_images, "found 0"),
        (
            "truncated",
            TRAIN_IMAGES,
            images[..15_695].to_vec(),
            expects_images,
            "found 15695",
        ),
        (
            "oversized",
            TRAIN_IMAGES,
            [&images[..], b"x"].concat(),
            expects_images,
            "found more",
        ),
        (
            "magic",
            TRAIN_IMAGES,
            with(&images, 2, 9),
            "expected 0x00000803",
            "found 0x00000903",
        ),
        (
            "fewer images",
            TRAIN_IMAGES,
            with(&images, 7, 19),
            "expected [20, 28, 28]",
            "found [19, 28, 28]",
        ),
        (
            "a huge count",
            TRAIN_IMAGES,
            with(&images, 4, 255),
            "expected [20,",
            "found [4278190100,",
        ),
        (
            "gzip bomb",
            TRAIN_IMAGES,
            bomb,
            expects_images,
            "found more",
        ),
        (
            "truncated gzip",
            TRAIN_IMAGES,
            zipped[..200].to_vec(),
            expects_images,
            "found",
        ),
        (
            "more labels",
            TRAIN_LABELS,
            with(&labels, 7, 21),
            "expected [20]",
            "found [21]",
        ),
        (
            "a label of 10",
            TRAIN_LABELS,
            with(&labels, 13, 10),
            "expected 0 to 9",
            "found 10 at example 5",
        ),
    ];
    for (case, name, content, expected, found) in cases {
        for unverified in [Unverified::Refuse, Unverified::Accept { name: None }] {
            let folders = Folders::new();
            folders.write_all("data");
            let path = folders.write(&format!("data/{name}"), &content);
            let error = folders
                .find_with(&small_spec(vec![]), unverified)
                .unwrap_err();
            assert!(matches!(error, DataError::Format { .. }), "{case}: {error}");
            let message = error.to_string();
            for part in [path.to_str().unwrap(), expected, found] {
                assert!(
                    message.contains(part),
                    "{case}: `{part}` is not in `{message}`"
                );
            }
        }
    }
}

#[test]
fn other_bytes_are_refused_or_named() {
    let folders = Folders::new();
    folders.write_all("data");
    let mut images = small_files()[0].1.clone();
    images[100] ^= 1;
    let path = folders.write(&format!("data/{TRAIN_IMAGES}"), &images);
    let spec = small_spec(vec![]);

    let message = folders.find(&spec).unwrap_err().to_string();
    let digests = [spec.files[0].sha256, Sha256::of(&images)].map(|digest| digest.to_string());
    for part in [
        path.to_str().unwrap(),
        &digests[0],
        &digests[1],
        "--allow-unverified",
    ] {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }

    let accepted = folders
        .find_with(&spec, Unverified::Accept { name: None })
        .unwrap();
    assert_eq!(accepted.name(), "MNIST (unverified)");
    assert_eq!(accepted.provenance.trust(), Trust::Unverified);
    assert_eq!(accepted.provenance.files[0].sha256, Sha256::of(&images));
    assert_eq!(accepted.provenance.files[1].trust, Trust::Verified);
    assert_eq!(accepted.train.image(0)[84], images[100]);

    let name = Some("MNIST, one pixel changed".to_owned());
    let named = folders
        .find_with(&spec, Unverified::Accept { name })
        .unwrap();
    assert_eq!(named.name(), "MNIST, one pixel changed");

    let name = Some("MNIST".to_owned());
    let mislabelled = folders
        .find_with(&spec, Unverified::Accept { name })
        .unwrap();
    assert_eq!(
        mislabelled.name(),
        "MNIST (unverified)",
        "that name is of the published bytes"
    );
}

#[test]
fn published_bytes_keep_their_name() {
    let folders = Folders::new();
    folders.write_all("data");
    let name = Some("my own".to_owned());
    let data = folders
        .find_with(&small_spec(vec![]), Unverified::Accept { name })
        .unwrap();
    assert_is_small_data(&data);
}
