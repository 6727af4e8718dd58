//! One document over plain HTTP from an address on this machine, which is how ECS tells a container about itself.
//!
//! Not a client for anything else: no names, no TLS, no redirects, nothing kept open. Time and size are bounded.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::CaptureError;
use crate::clock::Clock;

/// One request, from connecting to the last byte.
const TIME_MAX: Duration = Duration::from_secs(1);
/// The description of a task with many containers has some ten KiB.
const BYTES_MAX: u64 = 1 << 20;

/// Gets documents.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The document at this address.
    async fn get(&self, url: &str) -> Result<String, CaptureError>;
}

/// Gets them from this machine.
#[derive(Debug, Clone)]
pub struct LocalHttp {
    clock: Clock,
}

impl LocalHttp {
    /// Measures time by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

#[async_trait]
impl Fetch for LocalHttp {
    async fn get(&self, url: &str) -> Result<String, CaptureError> {
        let (address, path) = split(url)?;
        let answer = self.clock.timeout(TIME_MAX, exchange(address, path)).await;
        let answer = answer.map_err(|elapsed| CaptureError::unreadable(url, elapsed))?;
        let answer = answer.map_err(|error| CaptureError::unreadable(url, error))?;
        document(&answer).map_err(|problem| CaptureError::unreadable(url, problem))
    }
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Where to connect, and what to ask for.
///
/// # Errors
/// [`CaptureError`] if it is not plain HTTP to an IP address that only this machine has.
fn split(url: &str) -> Result<(SocketAddr, &str), CaptureError> {
    let wrong = || CaptureError::unreadable(url, "not http:// and a loopback or link-local address");
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let without_port = || authority.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = authority.parse().or_else(|_| without_port().map(|ip| SocketAddr::new(ip, 80)));
    let address: SocketAddr = address.map_err(|_| wrong())?;
    let is_local = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    };
    let has_blanks = path.chars().any(|char| char.is_control() || char.is_whitespace());
    if !is_local || has_blanks {
        return Err(wrong());
    }
    Ok((address, if path.is_empty() { "/" } else { path }))
}

/// The body of an answer, if it is whole and the answer a success.
fn document(answer: &[u8]) -> Result<String, String> {
    let cut_off = || "the answer is cut off".to_owned();
    let (head, body) = split_at(answer, b"\r\n\r\n").ok_or_else(cut_off)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the answer is '{}'", status.chars().take(80).collect::<String>()));
    }
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
    let body = if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        unchunked(body).ok_or_else(cut_off)?
    } else if let Some(length) = header("content-length") {
        let length = length.parse().map_err(|_| "the length of the answer is not a number")?;
        body.get(..length).ok_or_else(cut_off)?.to_vec()
    } else {
        body.to_vec()
    };
    String::from_utf8(body).map_err(|_| "the answer is not text".to_owned())
}

/// A body sent in pieces: each after its length in hexadecimal digits, the last one empty. A piece may end within a
/// character.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (head, tail) = split_at(rest, b"\r\n")?;
        let length = std::str::from_utf8(head).ok()?.split(';').next()?.trim();
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(tail.get(..length)?);
        rest = tail.get(length..)?.strip_prefix(b"\r\n")?;
    }
}

fn split_at<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_of_this_machine_are_asked() {
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(split("http://169.254.170.2/v4/a-1"), Ok((address("169.254.170.2:80"), "/v4/a-1")));
        assert_eq!(split("http://127.0.0.1:51679"), Ok((address("127.0.0.1:51679"), "/")));
        assert_eq!(split("http://[fd00:ec2::23]/v4"), Ok((address("[fd00:ec2::23]:80"), "/v4")));
        assert_eq!(split("http://[::1]:8080/"), Ok((address("[::1]:8080"), "/")));
    }

    #[test]
    fn nobody_else_is() {
        for url in ["", "https://127.0.0.1/", "http://10.0.0.1/", "http://example.com/", "http://127.0.0.1/a\r\nb"] {
            let error = split(url).unwrap_err().to_string();
            assert!(error.starts_with("cannot be read: not http:// and a loopback or link-local address"), "{error}");
        }
    }

    #[test]
    fn bodies_come_in_three_ways() {
        let answer = |text: &str| document(text.as_bytes());
        assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Ok("{}".to_owned()));
        assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\n{\"a\": 1}"), Ok("{\"a\": 1}".to_owned()));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let pieces = b"4;x=y\r\n{\"a\"\r\n6\r\n: \"\xc3\xa9\xc3\r\n03\r\n\xa9\"}\r\n0\r\n\r\n";
        let whole = document(&[chunked.as_bytes(), pieces].concat());
        assert_eq!(whole, Ok("{\"a\": \"\u{e9}\u{e9}\"}".to_owned()), "a piece ends within a character");
    }

    #[test]
    fn what_is_no_whole_success_is_told() {
        let problem = |text: &str| document(text.as_bytes()).unwrap_err();
        assert_eq!(problem(""), "the answer is cut off");
        assert_eq!(problem("HTTP/1.1 404 Not Found\r\n\r\n{}"), "the answer is 'HTTP/1.1 404 Not Found'");
        assert_eq!(problem("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "the answer is cut off");
        assert_eq!(problem("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "the length of the answer is not a number");
        for pieces in ["", "4\r\n{}", "2\r\n{}", "z\r\n", "2\r\n{}\r\n", "1\r\n\u{e9}\r\n0\r\n\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{pieces}");
            assert_eq!(problem(&text), "the answer is cut off", "{pieces:?}");
        }
        assert_eq!(document(b"HTTP/1.1 200 OK\r\n\r\n\xff").unwrap_err(), "the answer is not text");
    }

    #[tokio::test]
    async fn a_document_is_fetched_and_a_missing_one_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v4/task", listener.local_addr().unwrap());
        let answer_one = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /v4/task HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        };
        let http = LocalHttp::new(Clock::system());
        let (document, ()) = tokio::join!(http.get(&url), answer_one);
        assert_eq!(document, Ok("{}".to_owned()));
        drop(listener);
        let error = http.get(&url).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot be read: ") && error.ends_with(&format!("source={url}")), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let error = LocalHttp::new(Clock::system()).get(&url).await.unwrap_err();
        assert_eq!(error, CaptureError::unreadable(&url, "timed out"));
    }

    proptest! {
        #[test]
        fn a_body_survives_its_pieces(text in "\\PC{0,40}", sizes in prop::collection::vec(1usize..8, 0..40)) {
            let mut rest = text.as_bytes();
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for size in sizes.into_iter().chain([usize::MAX]) {
                let (piece, tail) = rest.split_at(size.min(rest.len()));
                if !piece.is_empty() {
                    answer.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
                rest = tail;
            }
            answer.extend(b"0\r\n\r\n");
            prop_assert_eq!(document(&answer), Ok(text));
        }

        /// Whatever comes: an answer or an error, no panic.
        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            let _ = document(&bytes);
            let _ = unchunked(&bytes);
        }
    }
}
