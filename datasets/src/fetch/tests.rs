//! The search, on a data set of a few images, in temporary folders and against servers on the
//! loopback interface.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::files::owner;
use super::*;
use crate::Sha256;
use crate::catalog::{Content, FileSpec, Mirror, Part};
use crate::formats::archive::tar;
use crate::formats::{gzip, idx};
use crate::images::Trust;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

fn pixels(examples: usize) -> Vec<u8> {
    (0..examples * 784).map(|i| (i * i % 251) as u8).collect()
}

/// The four files of a data set of 20 + 10 images: name and content.
fn small_files() -> [(&'static str, Vec<u8>); 4] {
    let labels = |examples: u8| (0..examples).map(|i| i % 10).collect::<Vec<u8>>();
    [
        (TRAIN_IMAGES, idx::file(&[20, 28, 28], &pixels(20))),
        (TRAIN_LABELS, idx::file(&[20], &labels(20))),
        (TEST_IMAGES, idx::file(&[10, 28, 28], &pixels(10))),
        (TEST_LABELS, idx::file(&[10], &labels(10))),
    ]
}

/// The catalogue's entry for that data set.
fn small_spec(mirrors: Vec<Mirror>) -> Spec {
    let contents = [
        (
            Part::Train,
            Content::IdxImages {
                shape: [20, 28, 28],
            },
        ),
        (Part::Train, Content::IdxLabels { examples: 20 }),
        (
            Part::Test,
            Content::IdxImages {
                shape: [10, 28, 28],
            },
        ),
        (Part::Test, Content::IdxLabels { examples: 10 }),
    ];
    let file = |((name, bytes), (part, content)): ((&'static str, Vec<u8>), _)| FileSpec {
        name,
        part,
        content,
        sha256: Sha256::of(&bytes),
    };
    Spec {
        dataset: Dataset::Mnist,
        files: small_files().into_iter().zip(contents).map(file).collect(),
        system_dirs: vec![],
        sub_dirs: vec!["MNIST/raw"],
        mirrors,
        package: None,
    }
}

/// Folders that go with the test.
struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn write_all(&self, folder: &str) {
        for (name, content) in small_files() {
            self.write(&format!("{folder}/{name}"), &content);
        }
    }

    /// Looks in `data`, if the test has made it, and keeps files in `cache`.
    fn options(&self, unverified: Unverified) -> Options {
        let data = self.path("data");
        Options {
            data_dir: data.exists().then_some(data),
            cache_dir: Some(self.path("cache")),
            unverified,
        }
    }

    fn find(&self, spec: &Spec) -> Result<ImageDataset, DataError> {
        self.find_with(spec, Unverified::Refuse)
    }

    fn find_with(&self, spec: &Spec, unverified: Unverified) -> Result<ImageDataset, DataError> {
        let client = http::Client::with_pause(Duration::from_millis(1));
        find(spec, &self.options(unverified), &client, &mut |_| {})?.parse(spec)
    }
}

fn assert_is_small_data(data: &ImageDataset) {
    assert_eq!((data.train.len(), data.test.len()), (20, 10));
    assert_eq!(data.train.image(19), &pixels(20)[19 * 784..]);
    assert_eq!(data.test.image(0), &pixels(1));
    assert_eq!(data.train.labels()[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(data.provenance.trust(), Trust::Verified);
    assert_eq!(data.name(), "MNIST");
}

// The data directory.

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

// Mirrors.

/// What a server does with a request.
enum Reply {
    Status(u16),
    /// The whole body, whatever range was asked for.
    Whole(Vec<u8>),
    /// The range that was asked for.
    Range(Vec<u8>),
    /// The range that was asked for, of which the connection lets only so many bytes pass.
    Cut(Vec<u8>, usize),
}

/// A request: path, and the start of the range it asks for.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    path: String,
    start: Option<usize>,
}

/// A server on the loopback interface; its thread ends with the tests.
struct Server {
    base: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Calls `reply` with each request and the number of those before it.
    fn start(reply: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = read_request(&stream);
                let before = log.lock().unwrap().len();
                log.lock().unwrap().push(request.clone());
                // A client that hangs up early is part of some tests.
                let _ = send(&stream, &request, reply(&request, before));
            }
        });
        Self { base, requests }
    }

    /// A server that has the small data set.
    fn with_small_files() -> Self {
        Self::start(|request, _| file_of(request).map_or(Reply::Status(404), Reply::Range))
    }

    fn mirror(&self) -> Mirror {
        Mirror::Files {
            base: self.base.clone(),
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn file_of(request: &Request) -> Option<Vec<u8>> {
    let mut files = small_files().into_iter();
    let file = files.find(|(name, _)| request.path == format!("/{name}.gz"));
    file.map(|(_, content)| gzip(&content))
}

fn read_request(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers = lines.take_while(|line| !line.is_empty());
    let start = headers
        .filter_map(|line| {
            line.to_lowercase()
                .strip_prefix("range: bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .next();
    Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        start,
    }
}

fn send(mut stream: &TcpStream, request: &Request, reply: Reply) -> io::Result<()> {
    let (body, range, pass) = match reply {
        Reply::Status(code) => {
            return write!(
                stream,
                "HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Reply::Whole(body) => (body, None, usize::MAX),
        Reply::Range(body) => (body, request.start, usize::MAX),
        Reply::Cut(body, pass) => (body, request.start, pass),
    };
    let start = range.unwrap_or(0);
    if start >= body.len() {
        return write!(
            stream,
            "HTTP/1.1 416 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let rest = &body[start..];
    match range {
        None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
        Some(_) => {
            let (last, size) = (body.len() - 1, body.len());
            write!(
                stream,
                "HTTP/1.1 206 OK\r\nContent-Range: bytes {start}-{last}/{size}\r\n"
            )?;
        }
    }
    write!(
        stream,
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    )?;
    stream.write_all(&rest[..rest.len().min(pass)])
}

fn cached(folders: &Folders) -> Vec<String> {
    let entries = fs::read_dir(folders.path("cache/mnist")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const ALL_CACHED: [&str; 5] = ["lock", TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS];

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

/// CIFAR-10's way: all files in one `.tar.gz`.
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

/// The real catalogue: what a typing error would break.
#[test]
fn the_catalogue_is_consistent() {
    for dataset in Dataset::ALL {
        let spec = dataset.spec();
        assert_eq!(spec.dataset, dataset);
        let examples = |part| {
            let files = spec.files.iter().filter(move |file| file.part == part);
            files.filter_map(|file| match file.content {
                Content::IdxImages { shape } => Some(shape[0]),
                Content::Cifar10 { examples } => Some(examples),
                Content::IdxLabels { .. } => None,
            })
        };
        let train = if dataset == Dataset::Cifar10 {
            50_000
        } else {
            60_000
        };
        assert_eq!(examples(Part::Train).sum::<u32>(), train);
        assert_eq!(examples(Part::Test).sum::<u32>(), 10_000);
        assert!(spec.mirrors.len() >= 3);
        for file in &spec.files {
            assert_eq!(
                owner(file.sha256),
                Some(dataset),
                "{}: a digest is listed twice",
                file.name
            );
        }
    }
    assert_eq!(owner(Sha256::of(b"")), None);
}
