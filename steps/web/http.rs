//! HTTP/1.1 (RFC 9112): framing by a mark, then framing by a length.
//!
//! ```text
// ANCHOR: wire
//! GET /hello.txt HTTP/1.1\r\n     method, target, version
//! Host: 127.0.0.1:8888\r\n        a field: name, colon, value
//! Content-Length: 3\r\n
//! \r\n                            the mark: an empty line ends the head
//! abc                             the body: as many bytes as the head says
// ANCHOR_END: wire
//! ```

use std::fmt;
use std::net::Ipv6Addr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

// ANCHOR: refused
const BAD_REQUEST: &str = "400 Bad Request";
const LENGTH_REQUIRED: &str = "411 Length Required";
const TOO_LARGE: &str = "413 Content Too Large";
const TARGET_TOO_LONG: &str = "414 URI Too Long";
const HEAD_TOO_LARGE: &str = "431 Request Header Fields Too Large";
const OTHER_VERSION: &str = "505 HTTP Version Not Supported";

/// A request after which nobody knows where the next one starts: the status of
/// the answer, and why. Close the connection after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refused(pub &'static str, pub &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

impl std::error::Error for Refused {}

/// Refuses a request that breaks a rule.
fn demand(rule: bool, why: &'static str) -> Result<(), Refused> {
    if rule { Ok(()) } else { Err(Refused(BAD_REQUEST, why)) }
}
// ANCHOR_END: refused

// ANCHOR: read-head
/// The most bytes of a head. RFC 9112 section 3 asks for 8000 bytes at least
/// for the first line.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most bytes of a body. This server has no use for one, and only has to
/// find its end.
pub const MAX_BODY: u64 = 64 * 1024;

/// Reads a request's head; what came after it stays in `input`. `None` says
/// that the client has ended its stream.
///
/// You may drop this future at any `.await` and call it again: what has arrived
/// stays in `input`. It sets no time limit.
///
/// # Errors
/// The head breaks a rule or is larger than [`MAX_HEAD`] ([`Refused`]), or the
/// connection is broken.
pub async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
) -> Result<Option<Head>> {
    let mut seen = 0;
    let mut may_skip = true;
    loop {
        // An old client may end its last body with one empty line too many
        // (RFC 9112 section 2.2).
        if may_skip && input.starts_with(b"\r\n") {
            input.drain(..2);
            (seen, may_skip) = (0, false);
        }
        if let Some(end) = find_end(input, seen)? {
            ensure!(end <= MAX_HEAD, too_large(input));
            let head = Head::parse(&input[..end])?;
            input.drain(..end);
            return Ok(Some(head));
        }
        ensure!(input.len() < MAX_HEAD, too_large(input));
        seen = input.len();
        if stream.read_buf(input).await.context("cannot read")? == 0 {
            demand(input.is_empty(), "ended in the middle of a head")?;
            return Ok(None);
        }
    }
}

/// Looks for the end of the empty line. The first `seen` bytes have been
/// searched before.
///
/// A line ends in CR LF. RFC 9112 section 2.2 lets a server take a bare LF,
/// too, but then a proxy in front of it may see other lines than we do.
fn find_end(input: &[u8], seen: usize) -> Result<Option<usize>, Refused> {
    for at in (seen..input.len()).filter(|&at| input[at] == b'\n') {
        demand(input[..at].ends_with(b"\r"), "a line ends in a bare LF")?;
        // At the start of the input, there is no line before the empty one.
        if matches!(&input[..at], [.., b'\n', b'\r'] | b"\r") {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

fn too_large(input: &[u8]) -> Refused {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(at) if at < MAX_HEAD => Refused(HEAD_TOO_LARGE, "too many fields"),
        _ => Refused(TARGET_TOO_LONG, "the first line has no end"),
    }
}
// ANCHOR_END: read-head

// ANCHOR: parse
/// What a request says before its body.
#[derive(Debug)]
pub struct Head {
    pub method: String,
    /// Starts with `/`, or is `*`.
    pub target: String,
    /// `true` for HTTP/1.1, `false` for HTTP/1.0.
    pub version_1_1: bool,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head, the empty line at its end included. Where RFC 9112 lets a
    /// server guess what a client means, it refuses.
    fn parse(head: &[u8]) -> Result<Head, Refused> {
        // Bytes that are not UTF-8 are allowed in values only (RFC 9110
        // section 5.5). They become U+FFFD, which no name, target, length or
        // host may contain, and never take the end of a line along.
        let text = String::from_utf8_lossy(head);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or_default();
        let words: Vec<&str> = line.split(' ').collect();
        let &[method, target, version] = &words[..] else {
            return Err(Refused(BAD_REQUEST, "the first line is not 3 words"));
        };
        demand(is_token(method), "the method is no word")?;
        let version_1_1 = is_version_1_1(version)?;
        let target = origin_form(method, target)?.to_owned();
        let fields = lines.map(parse_field).collect::<Result<_, _>>()?;
        let method = method.to_owned();
        let head = Head { method, target, version_1_1, fields };
        head.check_host()?;
        Ok(head)
    }

    /// Returns the value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns the values of all fields of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let is_it = move |f: &&(String, String)| f.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|field| &field.1[..])
    }

    /// Is `word` in the comma-separated list that the field `name` holds?
    pub fn has(&self, name: &str, word: &str) -> bool {
        let mut words = self.values(name).flat_map(|list| list.split(','));
        words.any(|w| w.trim_matches(BLANK).eq_ignore_ascii_case(word))
    }

    /// May the connection serve another request after this one? HTTP/1.0 can
    /// ask for that, too; here, it cannot (RFC 9112 section 9.3).
    pub fn may_stay(&self) -> bool {
        self.version_1_1 && !self.has("connection", "close")
    }

    /// Does the client wait for a sign that we want its body? (RFC 9110 section
    /// 10.1.1)
    pub fn waits_for_us(&self) -> bool {
        self.version_1_1 && self.has("expect", "100-continue")
    }

    /// Two programs that take a request for two different sites are a hole, so
    /// there is exactly one Host (RFC 9112 section 3.2).
    fn check_host(&self) -> Result<(), Refused> {
        let n = self.values("host").count();
        demand(n == 1 || n == 0 && !self.version_1_1, "not exactly one Host")?;
        let host = self.field("host").unwrap_or_default();
        demand(host.is_empty() || is_host(host), "a Host that we do not take")
    }
}
// ANCHOR_END: parse

// ANCHOR: words
/// The only white space between words (RFC 9110 section 5.6.3). `str::trim`
/// would take off more, and another program might see the rest.
const BLANK: [char; 2] = [' ', '\t'];

/// A word of HTTP, such as a method or a field's name (RFC 9110 section 5.6.2).
fn is_token(word: &str) -> bool {
    let is_fine =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !word.is_empty() && word.chars().all(is_fine)
}

/// Is this `host` or `host:port`? The rules would allow more in a name (RFC 3986
/// section 3.2.2), but no DNS name has it.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some(parts) if !text.ends_with(']') => parts,
        _ => (text, ""),
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_fine = match inner {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_name),
    };
    is_fine && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_version_1_1(version: &str) -> Result<bool, Refused> {
    let digits = version.strip_prefix("HTTP/").unwrap_or_default();
    match digits.as_bytes() {
        b"1.0" => Ok(false),
        [b'1', b'.', b'1'..=b'9'] => Ok(true), // RFC 9110 section 2.5
        [b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refused(OTHER_VERSION, "this server speaks HTTP/1.1"))
        }
        _ => Err(Refused(BAD_REQUEST, "the version is none of HTTP")),
    }
}

/// Takes the scheme and the host off a target, where a client sends them as to
/// a proxy (RFC 9112 section 3.2.2). `http` without a host is no address (RFC
/// 9110 section 4.2.1).
fn origin_form<'a>(method: &str, target: &'a str) -> Result<&'a str, Refused> {
    let is_visible = target.chars().all(|c| c.is_ascii_graphic() && c != '#');
    demand(is_visible, "the target has a character that none has")?;
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    let (scheme, rest) = target.split_once("://").unwrap_or_default();
    demand(scheme.eq_ignore_ascii_case("http"), "the target is no path")?;
    let (host, path) =
        rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    demand(is_host(host), "the target has a host that we do not take")?;
    Ok(if path.starts_with('/') { path } else { "/" })
}

/// Reads a line `name: value`. A space before the colon, or at the start of the
/// line (which once continued the line before: "obs-fold"), is part of no
/// name, so it is refused (RFC 9112 sections 5.1 and 5.2).
fn parse_field(line: &str) -> Result<(String, String), Refused> {
    let colon = line.split_once(':');
    let (name, value) =
        colon.ok_or(Refused(BAD_REQUEST, "a line has no colon"))?;
    demand(is_token(name), "a field's name has a character that none has")?;
    let is_fine = |c: char| !c.is_ascii_control() || c == '\t';
    demand(value.chars().all(is_fine), "a control character in a value")?;
    Ok((name.to_owned(), value.trim_matches(BLANK).to_owned()))
}
// ANCHOR_END: words

// ANCHOR: length
impl Head {
    /// Returns how many bytes of body follow the head (RFC 9112 section 6.3).
    ///
    /// # Errors
    /// The head says it twice, or in a way that two programs could read in two
    /// ways, or the body has no length, or is larger than [`MAX_BODY`].
    pub fn body_length(&self) -> Result<u64, Refused> {
        let mut lengths = self.values("content-length");
        let length = lengths.next();
        demand(lengths.next().is_none(), "two Content-Lengths")?;
        if self.field("transfer-encoding").is_some() {
            demand(length.is_none(), "two lengths: chunks and Content-Length")?;
            return Err(self.refuse_coding());
        }
        let Some(length) = length else { return Ok(0) };
        // `parse` alone would also take "+3".
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        demand(is_number && !length.is_empty(), "a length that is no number")?;
        match length.parse() {
            Ok(length @ 0..=MAX_BODY) => Ok(length),
            _ => Err(Refused(TOO_LARGE, "the body is too large")),
        }
    }

    /// Refuses a body in chunks, each with a length of its own: a server may ask
    /// for one length instead (RFC 9112 section 6.3).
    fn refuse_coding(&self) -> Refused {
        let last = self.values("transfer-encoding").last().unwrap_or_default();
        let last = last.rsplit(',').next().unwrap_or_default();
        let is_chunked =
            last.trim_matches(BLANK).eq_ignore_ascii_case("chunked");
        match is_chunked && self.version_1_1 {
            true => Refused(LENGTH_REQUIRED, "this server takes no chunks"),
            false => Refused(BAD_REQUEST, "nobody knows where the body ends"),
        }
    }
}

/// Reads a body of `length` bytes and forgets it, so that the next request
/// starts where it should.
///
/// # Errors
/// The stream ends too early ([`Refused`]), or the connection is broken.
pub async fn skip_body(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    length: u64,
) -> Result<()> {
    let mut left = length as usize; // at most MAX_BODY
    loop {
        let here = left.min(input.len());
        input.drain(..here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
        let n = stream.read_buf(input).await.context("cannot read")?;
        demand(n > 0, "ended in the middle of a body")?;
    }
}
// ANCHOR_END: length

// ANCHOR: response
/// The head of an answer. If the answer has a body, its length must be among
/// the fields, or the client cannot find its end.
pub fn head(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}
// ANCHOR_END: response

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex, empty};
    use tokio::time::timeout;

    /// Reads all heads of `bytes`, however they are cut into pieces.
    async fn heads(bytes: &[u8], piece: usize) -> Result<Vec<Head>> {
        let (mut client, mut server) = duplex(piece);
        let bytes = bytes.to_vec();
        let sender = tokio::spawn(async move {
            let _ = client.write_all(&bytes).await; // it may be refused
        });
        let (mut input, mut heads) = (Vec::new(), Vec::new());
        while let Some(head) = read_head(&mut server, &mut input).await? {
            heads.push(head);
        }
        sender.await.unwrap();
        Ok(heads)
    }

    /// The only head, or the refusal.
    async fn head(bytes: &str) -> Result<Head, Refused> {
        let bytes = bytes.as_bytes();
        let whole = heads(bytes, bytes.len().max(1)).await;
        let sliced = heads(bytes, 1).await;
        let text = |heads: &Result<Vec<Head>>| match heads {
            Ok(heads) => format!("{heads:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(text(&whole), text(&sliced));
        match whole {
            Ok(mut heads) => Ok(heads.pop().unwrap()),
            Err(error) => Err(error.downcast().unwrap()),
        }
    }

    /// A head of HTTP/1.1 with these lines and a Host.
    fn with(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    #[tokio::test]
    async fn heads_in_one_piece_or_in_many() {
        let bytes = b"\r\nGET /a?b HTTP/1.1\r\nHOST: x:80\r\nE:\r\n\
            X: \t1 2\xff \r\nX: 3\r\n\r\nHEAD http://x/c HTTP/1.0\r\n\r\n\
            OPTIONS * HTTP/1.9\r\nHost:\r\n\r\n";
        for piece in 1..bytes.len() {
            let heads = heads(bytes, piece).await.unwrap();
            let names = heads.iter().map(|h| [&h.method[..], &h.target]);
            let names: Vec<_> = names.collect();
            assert_eq!(
                names,
                [["GET", "/a?b"], ["HEAD", "/c"], ["OPTIONS", "*"]]
            );
            let versions: Vec<_> =
                heads.iter().map(|h| h.version_1_1).collect();
            assert_eq!(versions, [true, false, true]);
            assert_eq!(heads[0].field("x"), Some("1 2\u{fffd}"));
            assert_eq!(heads[0].field("host"), Some("x:80"));
            assert_eq!(heads[0].field("e"), Some(""));
            assert_eq!(heads[0].values("x").count(), 2);
            assert_eq!(heads[0].field("y"), None);
        }
    }

    /// A future that was dropped has lost nothing.
    #[tokio::test]
    async fn a_head_is_read_on() {
        let bytes = with("");
        for cut in 0..bytes.len() {
            let mut input = bytes.as_bytes()[..cut].to_vec();
            let mut rest = &bytes.as_bytes()[cut..];
            let head = read_head(&mut rest, &mut input).await.unwrap();
            assert_eq!(head.unwrap().field("host"), Some("a"));
        }
    }

    const BAD_LINES: [&str; 20] = [
        "X: 1\n",
        "X: 1\r",
        "X : 1\r\n",
        "X\t: 1\r\n",
        " X: 1\r\n",
        "X: 1\r\n 2\r\n",
        "X: 1\r\n\t2\r\n",
        ": 1\r\n",
        "X\r\n",
        "\0: 1\r\n",
        "X: a\0b\r\n",
        "X: a\x0b\r\n",
        "X: a\rb\r\n",
        "X\u{e9}: 1\r\n",
        "Host: a\r\n",
        "Host: b\r\n",
        "X: 1\r\n\n",
        "X: \x7f\r\n",
        "\u{a0}X: 1\r\n",
        "(X): 1\r\n",
    ];
    const BAD_FIRST_LINES: [&str; 28] = [
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET /",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1,1",
        "G(T / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\x0c HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET / HTTP/1.1\r\nHost:/a",
        "GET http:/// HTTP/1.1",
        "GET http://?x HTTP/1.1",
        "GET http://u:p@x/ HTTP/1.1",
        "GET http://:80/ HTTP/1.1",
        "GET / HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "",
        "\r\n\r\n",
        "GET / HTTP/1.",
        "GET / HTTP/1.1\r",
        "GET / HTTP/+.1",
    ];

    #[tokio::test]
    async fn what_could_be_read_in_two_ways_is_refused() {
        for lines in BAD_LINES {
            let refused = head(&with(lines)).await.unwrap_err();
            assert_eq!(refused.0, BAD_REQUEST, "{lines:?}");
        }
        for line in BAD_FIRST_LINES {
            let text = format!("{line}\r\nX: 1\r\n\r\n");
            let text = match line.ends_with("1.1") {
                true => format!("{line}\r\nHost: a\r\n\r\n"),
                false => text,
            };
            let refused = head(&text).await.unwrap_err();
            assert_eq!(refused.0, BAD_REQUEST, "{line:?}");
        }
        let h2 = head("PRI * HTTP/2.0\r\n\r\n").await.unwrap_err();
        assert_eq!(h2.0, OTHER_VERSION);
        let old = head("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").await;
        assert_eq!(old.unwrap_err().0, BAD_REQUEST);
        let two_empty = head(&format!("\r\n\r\n{}", with(""))).await;
        assert_eq!(two_empty.unwrap_err().0, BAD_REQUEST);
        let none = head("GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
        assert_eq!(none.1, "not exactly one Host");
    }

    #[test]
    fn what_a_host_is() {
        for host in "a a:80 a: a-b.c_d 127.0.0.1:8888 [::1] [::1]:80".split(' ')
        {
            assert!(is_host(host), "{host}");
        }
        let bad = ":80 ::1 a:b a:80:80 :::[].. [] [a] [::1 [::1]a abcd/e \
            u@a a!b a%41 \u{fffd}a";
        for host in bad.split_whitespace().chain([""]) {
            assert!(!is_host(host), "{host}");
        }
    }

    /// Why a head is refused, without waiting for more of it.
    async fn refusal(
        stream: &mut DuplexStream,
        input: &mut Vec<u8>,
    ) -> anyhow::Error {
        let head = timeout(Duration::from_secs(10), read_head(stream, input));
        head.await.expect("no more is needed").unwrap_err()
    }

    /// A bare LF is refused when it comes: there may be no other end.
    #[tokio::test]
    async fn a_bare_lf_is_refused_at_once() {
        let (mut client, mut server) = duplex(100);
        client.write_all(b"GET / HTTP/1.1\n").await.unwrap();
        let error = refusal(&mut server, &mut Vec::new()).await;
        assert!(error.is::<Refused>());
    }

    #[tokio::test]
    async fn a_head_has_a_largest_size() {
        let most = MAX_HEAD - with("X: \r\n").len();
        let largest = with(&format!("X: {}\r\n", "x".repeat(most)));
        head(&largest).await.unwrap();
        let larger = with(&format!("X: {}\r\n", "x".repeat(most + 1)));
        assert_eq!(head(&larger).await.unwrap_err().0, HEAD_TOO_LARGE);
        // In one read, too, and without an end.
        let mut input = larger.clone().into_bytes();
        let error = read_head(&mut empty(), &mut input).await.unwrap_err();
        assert!(error.to_string().contains("431"), "{error}");
        let endless = "x".repeat(10 * MAX_HEAD);
        assert_eq!(head(&endless).await.unwrap_err().0, TARGET_TOO_LONG);
        let endless = with(&endless);
        assert_eq!(head(&endless).await.unwrap_err().0, HEAD_TOO_LARGE);
        let mut input = endless.into_bytes();
        input.truncate(MAX_HEAD);
        let (_client, mut silent) = duplex(1);
        let error = refusal(&mut silent, &mut input).await;
        assert!(error.to_string().contains("431"), "{error}");
    }

    #[tokio::test]
    async fn an_end_between_requests_and_within_one() {
        let mut input = Vec::new();
        let end = read_head(&mut empty(), &mut input).await.unwrap();
        assert!(end.is_none());
        for part in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"]
        {
            assert_eq!(head(part).await.unwrap_err().0, BAD_REQUEST);
        }
    }

    const BAD: Result<u64, &str> = Err(BAD_REQUEST);
    const LENGTHS: [(&str, Result<u64, &str>); 24] = [
        ("", Ok(0)),
        ("Content-Length: 0\r\n", Ok(0)),
        ("content-length: \t003 \r\n", Ok(3)),
        ("Content-Length: 65536\r\n", Ok(65536)),
        ("Content-Length: 65537\r\n", Err(TOO_LARGE)),
        ("Content-Length: 99999999999999999999\r\n", Err(TOO_LARGE)),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", BAD),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", BAD),
        ("Content-Length: 3, 3\r\n", BAD),
        ("Content-Length: +3\r\n", BAD),
        ("Content-Length: -3\r\n", BAD),
        ("Content-Length: 0x3\r\n", BAD),
        ("Content-Length: 3 3\r\n", BAD),
        ("Content-Length: 3\u{a0}\r\n", BAD),
        ("Content-Length: \u{663}\r\n", BAD), // a digit, in Arabic
        ("Content-Length:\r\n", BAD),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", BAD),
        ("Transfer-Encoding: x\r\nContent-Length: 3\r\n", BAD),
        ("Transfer-Encoding: Chunked\r\n", Err(LENGTH_REQUIRED)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(LENGTH_REQUIRED)),
        ("Transfer-Encoding: chunked, gzip\r\n", BAD),
        ("Transfer-Encoding: xchunked\r\n", BAD),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", BAD),
        ("Transfer-Encoding:\r\n", BAD),
    ];

    #[tokio::test]
    async fn how_long_a_body_is() {
        for (lines, length) in LENGTHS {
            let found = head(&with(lines)).await.unwrap().body_length();
            assert_eq!(found.map_err(|refused| refused.0), length, "{lines:?}");
        }
        let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        let old = head(old).await.unwrap().body_length();
        assert_eq!(old.unwrap_err().0, BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_body_is_skipped_exactly() {
        for cut in 0..8 {
            let (mut input, mut rest) =
                (b"abcdefgh"[..cut].to_vec(), &b"abcdefgh"[cut..]);
            skip_body(&mut rest, &mut input, 5).await.unwrap();
            assert_eq!([&input[..], rest].concat(), b"fgh");
        }
        let error = skip_body(&mut empty(), &mut b"abc".to_vec(), 4).await;
        assert!(error.unwrap_err().is::<Refused>());
    }

    #[tokio::test]
    async fn which_connection_may_stay() {
        for (lines, stays) in [
            ("", true),
            ("Connection: Close\r\n", false),
            ("Connection: x,\tclose\r\n", false),
            ("Connection: x\r\nConnection: close\r\n", false),
            ("Connection: closed\r\n", true),
            ("Connection: keep-alive\r\n", true),
        ] {
            assert_eq!(head(&with(lines)).await.unwrap().may_stay(), stays);
        }
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert!(!head(old).await.unwrap().may_stay());
    }
}
