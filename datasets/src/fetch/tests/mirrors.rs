//! What servers do, and what comes of it.

use std::net::TcpListener;

use super::server::{Reply, Server, file_of};
use super::*;
use crate::fetch::{Event, Fault};
use crate::formats::archive::tar;
use crate::formats::gzip;

#[test]
fn what_is_missing_is_downloaded_once() {
    let server = Server::with_small_files();
    let spec = small_spec(vec![server.mirror()]);
    let folders = Folders::new();
    let data = folders.find(&spec).unwrap();
    assert_is_small_data(&data);
    assert_eq!(data.provenance.origin, Origin::Fetched(server.base.clone()));
    assert_eq!(server.requests().len(), 4);
    assert_eq!(cached(&folders), ALL_CACHED);

    let again = folders.find(&spec).unwrap();
    assert_is_small_data(&again);
    assert_eq!(
        again.provenance.origin,
        Origin::Cache(folders.path("cache/mnist"))
    );
    assert_eq!(again.provenance.sha256(), data.provenance.sha256());
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_broken_connection_is_resumed() {
    let server = Server::start(|request, before| {
        let file = file_of(request).unwrap();
        // More breaks than attempts, but each brings something new.
        if before < 5 {
            Reply::Cut(file, 40)
        } else {
            Reply::Range(file)
        }
    });
    let folders = Folders::new();
    assert_is_small_data(&folders.find(&small_spec(vec![server.mirror()])).unwrap());
    let starts: Vec<Option<usize>> = server
        .requests()
        .iter()
        .map(|request| request.start)
        .collect();
    assert_eq!(
        starts[..7],
        [
            None,
            Some(40),
            Some(80),
            Some(120),
            Some(160),
            Some(200),
            None
        ]
    );
    assert_eq!(cached(&folders), ALL_CACHED);
}

#[test]
fn a_length_that_no_body_has_is_passed_over() {
    let server = Server::start(|request, before| {
        let file = file_of(request).unwrap();
        match before {
            0 => Reply::Cut(file, 40),
            1 => Reply::Boasted(file),
            _ => Reply::Range(file),
        }
    });
    let folders = Folders::new();
    assert_is_small_data(&folders.find(&small_spec(vec![server.mirror()])).unwrap());
    assert_eq!(server.requests()[1].start, Some(40));
}

#[test]
fn a_server_without_ranges_is_served_from_the_start() {
    let server = Server::start(|request, before| {
        let file = file_of(request).unwrap();
        if before == 0 {
            Reply::Cut(file, 40)
        } else {
            Reply::Whole(file)
        }
    });
    let folders = Folders::new();
    assert_is_small_data(&folders.find(&small_spec(vec![server.mirror()])).unwrap());
    assert_eq!(server.requests()[1].start, Some(40));
}

#[test]
fn leftovers_of_another_file_do_not_spoil_a_download() {
    let longer = vec![0; 100_000];
    for leftover in [&b"garbage"[..], &longer] {
        let server = Server::with_small_files();
        let folders = Folders::new();
        folders.write(&format!("cache/mnist/{TRAIN_IMAGES}.gz.part"), leftover);
        assert_is_small_data(&folders.find(&small_spec(vec![server.mirror()])).unwrap());
        let starts: Vec<Option<usize>> = server
            .requests()
            .iter()
            .map(|request| request.start)
            .collect();
        assert_eq!(starts, [Some(leftover.len()), None, None, None, None]);
        assert_eq!(cached(&folders), ALL_CACHED);
    }
}

#[test]
fn a_complete_leftover_is_not_downloaded_again() {
    let server = Server::with_small_files();
    let folders = Folders::new();
    let file = gzip(&small_files()[0].1);
    folders.write(&format!("cache/mnist/{TRAIN_IMAGES}.gz.part"), &file);
    assert_is_small_data(&folders.find(&small_spec(vec![server.mirror()])).unwrap());
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_busy_server_is_asked_again_and_an_empty_one_is_not() {
    let busy = Server::start(|request, before| match before {
        0 | 1 => Reply::Status(503),
        _ => file_of(request).map_or(Reply::Status(404), Reply::Range),
    });
    let empty = Server::start(|_, _| Reply::Status(404));
    let folders = Folders::new();
    let data = folders
        .find(&small_spec(vec![empty.mirror(), busy.mirror()]))
        .unwrap();
    assert_is_small_data(&data);
    assert_eq!(data.provenance.origin, Origin::Fetched(busy.base.clone()));
    assert_eq!(empty.requests().len(), 1);
    assert_eq!(busy.requests().len(), 2 + 4);
}

#[test]
fn wrong_bytes_are_passed_over_and_leave_nothing_behind() {
    let [images, ..] = small_files();
    let mut wrong = images.1;
    wrong[500] ^= 1;
    let cases = [
        gzip(&wrong),
        b"<html>moved</html>".to_vec(),
        gzip(&vec![0; 5_000_000]),
        vec![0; 200_000],
    ];
    for wrong in cases {
        let bad = Server::start(move |_, _| Reply::Range(wrong.clone()));
        let folders = Folders::new();
        let error = folders.find(&small_spec(vec![bad.mirror()])).unwrap_err();
        let DataError::NotFound { tried, .. } = &error else {
            panic!("{error}");
        };
        let reason = &tried.last().unwrap().reason;
        assert!(reason.contains("expected"), "{reason}");
        assert!(
            cached(&folders)
                .iter()
                .all(|name| name == "lock" || name.ends_with(".part"))
        );

        let good = Server::with_small_files();
        let data = folders
            .find(&small_spec(vec![bad.mirror(), good.mirror()]))
            .unwrap();
        assert_is_small_data(&data);
        assert_eq!(cached(&folders), ALL_CACHED);
    }
}

#[test]
fn an_endless_download_stops_at_its_limit() {
    let server = Server::start(|_, _| Reply::Whole(vec![0; 1_000_000]));
    let folders = Folders::new();
    let part = folders.path("part");
    let client = http::Client::with_pause(Duration::from_millis(1));
    let fault = client.download(&server.base, &part, 100_000, &mut |_, _| {});
    assert!(matches!(fault, Err(Fault::Source(reason)) if reason.contains("100000")));
    assert!(http::length(&part) <= 100_000);
}

#[test]
fn what_happens_is_told() {
    let empty = Server::start(|_, _| Reply::Status(404));
    let server = Server::with_small_files();
    let not_needed = Server::with_small_files();
    let spec = small_spec(vec![empty.mirror(), server.mirror(), not_needed.mirror()]);
    let folders = Folders::new();
    let mut told = Vec::new();
    let mut received = 0;
    let mut on_event = |event: Event<'_>| match event {
        Event::Trying { source } => told.push(format!("trying {source}")),
        Event::PassedOver { source, .. } => told.push(format!("passed over {source}")),
        Event::Received { bytes, total, .. } if Some(bytes) == total => received += bytes,
        Event::Received { .. } | Event::Waiting { .. } => {}
    };
    let options = folders.options(Unverified::Refuse);
    find(&spec, &options, &http::Client::new(), &mut on_event).unwrap();
    let expected = [
        format!("trying {}", empty.base),
        format!("passed over {}", empty.base),
        format!("trying {}", server.base),
    ];
    assert_eq!(told, expected);
    let sizes = small_files().map(|(_, content)| gzip(&content).len() as u64);
    assert_eq!(received, sizes.iter().sum::<u64>());
}

#[test]
fn when_nothing_is_found_all_that_was_tried_is_told() {
    let folders = Folders::new();
    folders.write("data/readme", b"");
    let empty = Server::start(|_, _| Reply::Status(404));
    let always_busy = Server::start(|_, _| Reply::Status(500));
    // A port that was free a moment ago refuses connections.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Mirror::Files {
        base: format!("http://{nobody}"),
    };
    let mut spec = small_spec(vec![empty.mirror(), always_busy.mirror(), nobody.clone()]);
    spec.system_dirs = vec![folders.path("system")];
    let error = folders.find(&spec).unwrap_err();
    let DataError::NotFound { missing, tried, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(missing.len(), 4);
    // The data directory, the system's, the cache and three mirrors, each told once.
    assert_eq!(tried.len(), 6, "{error}");

    let message = error.to_string();
    let paths =
        ["data", "system", "cache/mnist"].map(|folder| folders.path(folder).display().to_string());
    let Mirror::Files { base: nobody } = nobody else {
        unreachable!("made above");
    };
    let told = [
        &empty.base,
        &always_busy.base,
        &nobody,
        "404",
        "500",
        "3 attempts",
        "--data",
        TEST_LABELS,
    ];
    for part in paths.iter().map(String::as_str).chain(told) {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

#[test]
fn an_archive_is_verified_and_unpacked() {
    let records = |label: u8| [&[label][..], &vec![label; 3072]].concat();
    let files = [
        ("data_batch_1.bin", records(3), Part::Train),
        ("test_batch.bin", records(5), Part::Test),
    ];
    let archive = gzip(&tar(&[
        ("cifar-10-batches-bin/readme.html", b"<html>"),
        ("cifar-10-batches-bin/test_batch.bin", &files[1].1),
        ("cifar-10-batches-bin/data_batch_1.bin", &files[0].1),
    ]));
    let served = archive.clone();
    let server = Server::start(move |_, before| match before {
        0 => Reply::Cut(served.clone(), 30),
        _ => Reply::Range(served.clone()),
    });
    let spec = |sha256| Spec {
        dataset: Dataset::Cifar10,
        files: files
            .iter()
            .map(|(name, content, part)| FileSpec {
                name,
                part: *part,
                content: Content::Cifar10 { examples: 1 },
                sha256: Sha256::of(content),
            })
            .collect(),
        system_dirs: vec![],
        sub_dirs: vec![],
        mirrors: vec![Mirror::Archive {
            url: format!("{}/cifar-10-binary.tar.gz", server.base),
            sha256,
        }],
        package: None,
    };

    let folders = Folders::new();
    let data = folders.find(&spec(Sha256::of(&archive))).unwrap();
    assert_eq!(
        (data.train.labels(), data.test.labels()),
        (&[3][..], &[5][..])
    );
    assert_eq!(server.requests()[1].start, Some(30));

    let folders = Folders::new();
    let message = folders
        .find(&spec(Sha256::of(b"another")))
        .unwrap_err()
        .to_string();
    let expected = format!(
        "expected {}, found {}",
        Sha256::of(b"another"),
        Sha256::of(&archive)
    );
    assert!(message.contains(&expected), "{message}");
}

/// What is there already counts into the archive's size: it is in the archive all the same.
#[test]
fn an_archive_completes_a_cache_that_has_the_largest_file() {
    const EXAMPLES: u32 = 1500;
    let records = |examples: u32| [3; 3073].repeat(examples as usize);
    let files = [
        ("data_batch_1.bin", EXAMPLES, Part::Train),
        ("test_batch.bin", 1, Part::Test),
    ];
    let archive = gzip(&tar(&files
        .map(|(name, examples, _)| (name, records(examples)))
        .each_ref()
        .map(|(name, content)| (*name, content.as_slice()))));
    let sha256 = Sha256::of(&archive);
    let server = Server::start(move |_, _| Reply::Range(archive.clone()));
    let spec = Spec {
        dataset: Dataset::Cifar10,
        files: files
            .iter()
            .map(|&(name, examples, part)| FileSpec {
                name,
                part,
                content: Content::Cifar10 { examples },
                sha256: Sha256::of(&records(examples)),
            })
            .collect(),
        system_dirs: vec![],
        sub_dirs: vec![],
        mirrors: vec![Mirror::Archive {
            url: format!("{}/cifar-10-binary.tar.gz", server.base),
            sha256,
        }],
        package: None,
    };
    let folders = Folders::new();
    folders.write("cache/cifar10/data_batch_1.bin", &records(EXAMPLES));
    let data = folders.find(&spec).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (1500, 1));
}
