//! Downloads that survive a bad connection: time limits on every wait, retries with growing pauses,
//! and resumption from what is already there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{DataError, Fault};

/// Attempts in a row that bring no new byte before a server is given up.
const ATTEMPTS: u32 = 3;

/// Called with the bytes received so far and, if known, those expected in all.
pub(super) type OnBytes<'a> = &'a mut dyn FnMut(u64, Option<u64>);

pub(super) struct Client {
    agent: Agent,
    /// Pause after the first failed attempt; it doubles with each further one.
    pause: Duration,
}

/// Length of the file at `path`; 0 if there is none.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// How an attempt ended, if it did not succeed.
enum Failure {
    /// The connection broke or the server was busy: worth another attempt.
    Passing(String),
    /// The server is out of reach, or does not have it.
    Lasting(Fault),
}

impl Client {
    pub(super) fn new() -> Self {
        Self::with_pause(Duration::from_millis(500))
    }

    pub(super) fn with_pause(pause: Duration) -> Self {
        // There are several mirrors, and so waiting long for one of them is not worth it: where
        // nothing can be reached, all of them together cost less than twenty seconds. A download
        // may take as long as it likes, but must not stall.
        let config = Agent::config_builder()
            .timeout_resolve(Some(Duration::from_secs(2)))
            .timeout_connect(Some(Duration::from_secs(3)))
            .timeout_recv_response(Some(Duration::from_secs(5)))
            .timeout_per_read(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .user_agent(concat!("l4-datasets/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().new_agent(),
            pause,
        }
    }

    /// Completes the file at `part` from `url`; more than `limit` bytes are never written.
    pub(super) fn download(
        &self,
        url: &str,
        part: &Path,
        limit: u64,
        on_bytes: OnBytes<'_>,
    ) -> Result<(), Fault> {
        let mut longest = length(part);
        let mut failed = 0;
        loop {
            let reason = match self.attempt(url, part, limit, on_bytes) {
                Ok(()) => return Ok(()),
                Err(Failure::Lasting(fault)) => return Err(fault),
                Err(Failure::Passing(reason)) => reason,
            };
            if length(part) > longest {
                longest = length(part);
                failed = 0;
            }
            failed += 1;
            if failed == ATTEMPTS {
                return Err(Fault::Source(format!("{reason} ({ATTEMPTS} attempts)")));
            }
            thread::sleep(self.pause * 2u32.pow(failed - 1));
        }
    }

    fn attempt(
        &self,
        url: &str,
        part: &Path,
        limit: u64,
        on_bytes: OnBytes<'_>,
    ) -> Result<(), Failure> {
        let have = length(part);
        let mut request = self.agent.get(url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = request.call().map_err(request_failure)?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(have) => have,
            // Nothing comes after what is there: it is complete, or else the digest will tell.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
            status => return Err(status_failure(status)),
        };
        // One that no file has is no length.
        let total = response
            .body()
            .content_length()
            .and_then(|rest| rest.checked_add(start));
        let mut body = response.into_body().into_reader();
        let mut growing = Growing::open(part, start, limit)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            on_bytes(growing.length, total);
            // A body that ends before its stated length is an error here, not an end.
            match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => growing.append(&buffer[..n])?,
                Err(error) => return Err(Failure::Passing(error.to_string())),
            }
        }
    }
}

/// The file that a download grows in, up to its limit.
struct Growing<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    limit: u64,
}

impl<'a> Growing<'a> {
    /// Opens the file at `path` to write on from `start`, which is 0 or its length.
    fn open(path: &'a Path, start: u64, limit: u64) -> Result<Self, Failure> {
        let opened = match start {
            0 => File::create(path),
            _ => OpenOptions::new().append(true).open(path),
        };
        Ok(Self {
            path,
            file: opened.map_err(|reason| write_failure(path, reason))?,
            length: start,
            limit,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = self.length + bytes.len() as u64;
        if length > self.limit {
            let reason = format!("expected at most {} bytes, is sent more", self.limit);
            return Err(Failure::Lasting(Fault::Source(reason)));
        }
        let written = self.file.write_all(bytes);
        written.map_err(|reason| write_failure(self.path, reason))?;
        self.length = length;
        Ok(())
    }
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

fn status_failure(status: StatusCode) -> Failure {
    let reason = format!("answers {status}");
    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    match passing {
        true => Failure::Passing(reason),
        false => Failure::Lasting(Fault::Source(reason)),
    }
}

fn write_failure(part: &Path, reason: io::Error) -> Failure {
    Failure::Lasting(DataError::io("write", part, reason).into())
}

/// A connection that breaks is tried again; a server that no connection can be made to, or that
/// does not answer, is not, as there are others.
fn request_failure(error: ureq::Error) -> Failure {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    let broken = match &error {
        ureq::Error::Io(error) => {
            matches!(
                error.kind(),
                ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        }
        ureq::Error::Protocol(_) => true,
        _ => false,
    };
    match broken {
        true => Failure::Passing(error.to_string()),
        false => Failure::Lasting(Fault::Source(error.to_string())),
    }
}
