//! Servers on the loopback interface.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Mirror, small_files};
use crate::formats::gzip;

/// What a server does with a request.
pub(super) enum Reply {
    Status(u16),
    /// The whole body, whatever range was asked for.
    Whole(Vec<u8>),
    /// The range that was asked for.
    Range(Vec<u8>),
    /// The range that was asked for, of which the connection lets only so many bytes pass.
    Cut(Vec<u8>, usize),
    /// The range that was asked for, said to be longer than any body is.
    Boasted(Vec<u8>),
}

/// A request: path, and the start of the range it asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) start: Option<usize>,
}

/// A server on the loopback interface; its thread ends with the tests.
pub(super) struct Server {
    pub(super) base: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Calls `reply` with each request and the number of those before it.
    pub(super) fn start(reply: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
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
    pub(super) fn with_small_files() -> Self {
        Self::start(|request, _| file_of(request).map_or(Reply::Status(404), Reply::Range))
    }

    pub(super) fn mirror(&self) -> Mirror {
        Mirror::Files {
            base: self.base.clone(),
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

pub(super) fn file_of(request: &Request) -> Option<Vec<u8>> {
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
    let boasted = matches!(reply, Reply::Boasted(_)).then_some(u64::MAX);
    let (body, range, pass) = match reply {
        Reply::Status(code) => {
            return write!(
                stream,
                "HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Reply::Whole(body) => (body, None, usize::MAX),
        Reply::Range(body) | Reply::Boasted(body) => (body, request.start, usize::MAX),
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
        boasted.unwrap_or(rest.len() as u64)
    )?;
    stream.write_all(&rest[..rest.len().min(pass)])
}
