// ANCHOR: site
//! What a request gets: a file of the page, or a WebSocket, or no.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::http::{self, Head, Refused};
use super::ws;

/// The page: target, type, contents. They are part of the program.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/chat.js", "text/javascript", include_str!("page/chat.js")),
    ("/chat.css", "text/css", include_str!("page/chat.css")),
    ("/dot.svg", "image/svg+xml", include_str!("page/dot.svg")),
];

/// Where the page opens its WebSocket.
const SOCKET: &str = "/room";

/// What the page may load and do: its own files, a connection to its own
/// server, and nothing else. A script that somebody smuggles into a name does
/// not run, even if the page had a hole for it.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NO_BODY: Refused = Refused("413 Content Too Large", "no body, please");

/// What to send, and whether it opens a WebSocket.
pub enum Answer {
    Page(Vec<u8>),
    Socket(Vec<u8>),
}

/// Answers a request.
///
/// # Errors
/// The request is refused, and the connection is to be closed.
pub fn answer(head: &Head, hosts: &[String]) -> Result<Answer, Refused> {
    let host = head.field("host").unwrap_or_default();
    check_host(host, hosts)?;
    if head.body_length()? > 0 {
        return Err(NO_BODY);
    }
    let path = head.target.split('?').next().unwrap_or_default();
    if path == SOCKET {
        let accept = upgrade(head, host)?;
        let fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", &accept),
        ];
        let head = http::head("101 Switching Protocols", &fields);
        return Ok(Answer::Socket(head));
    }
    file(&head.method, path).map(Answer::Page)
}

/// An answer with a part of the page.
fn file(method: &str, path: &str) -> Result<Vec<u8>, Refused> {
    if !["GET", "HEAD"].contains(&method) {
        return Err(Refused("405 Method Not Allowed", "only GET and HEAD"));
    }
    let file = FILES.iter().find(|(target, ..)| *target == path);
    let missing = Refused("404 Not Found", "nothing is called that");
    let (_, kind, body) = file.ok_or(missing)?;
    let fields = [
        ("Content-Type", *kind),
        ("Content-Length", &body.len().to_string()),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ];
    let mut bytes = http::head("200 OK", &fields);
    if method == "GET" {
        bytes.extend(body.as_bytes());
    }
    Ok(bytes)
}

/// An answer that says no.
pub fn refusal(Refused(status, why): Refused) -> Vec<u8> {
    let body = format!("{why}\n");
    let length = body.len().to_string();
    let mut fields = vec![
        ("Content-Type", "text/plain"),
        ("Content-Length", &length),
        ("Connection", "close"),
    ];
    match &status[..3] {
        "405" => fields.push(("Allow", "GET, HEAD")),
        "426" => fields.extend([
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
        ]),
        "503" => fields.push(("Retry-After", "1")),
        _ => {}
    }
    [&http::head(status, &fields)[..], body.as_bytes()].concat()
}
// ANCHOR_END: site

// ANCHOR: upgrade
/// Checks a request for a WebSocket (RFC 6455 section 4.2.1), and returns what
/// proves that we have.
fn upgrade(head: &Head, host: &str) -> Result<String, Refused> {
    let wrong = |why| Err(Refused("400 Bad Request", why));
    if head.method != "GET" || !head.version_1_1 {
        return wrong("a WebSocket begins with GET and HTTP/1.1");
    }
    let asks = head.has("connection", "upgrade");
    let version = head.field("sec-websocket-version");
    if !asks || !head.has("upgrade", "websocket") || version != Some("13") {
        return Err(Refused("426 Upgrade Required", "WebSocket 13, please"));
    }
    if head.field("origin").is_some_and(|origin| !is_own(origin, host)) {
        return Err(Refused("403 Forbidden", "a page of another site asks"));
    }
    match head.field("sec-websocket-key") {
        Some(key) if is_key(key) => Ok(ws::accept(key)),
        _ => wrong("Sec-WebSocket-Key is not 16 bytes in base64"),
    }
}

/// Does the page that asks come from this server? A browser opens a WebSocket
/// to any server, for any page, and says which page it is.
fn is_own(origin: &str, host: &str) -> bool {
    let scheme = ["http://", "https://"];
    scheme.iter().any(|s| origin.strip_prefix(s) == Some(host))
}

/// Are these 16 bytes in base64? That is 22 digits, and "==".
fn is_key(key: &str) -> bool {
    let digits = key.strip_suffix("==").unwrap_or_default();
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
    digits.len() == 22 && digits.bytes().all(is_digit)
}

/// Is this server meant? Anybody can let a name of theirs lead to 127.0.0.1.
/// Their page then comes from the same site as we do, for the browser ("DNS
/// rebinding"), but it has to use that name.
fn check_host(host: &str, hosts: &[String]) -> Result<(), Refused> {
    let is_address = host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok();
    let name = host.split(':').next().unwrap_or_default();
    let is_known = hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    if is_address || is_known || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    let status = "421 Misdirected Request";
    Err(Refused(status, "this server is not called that (see --host)"))
}
// ANCHOR_END: upgrade

#[cfg(test)]
mod tests {
    use super::*;

    use super::http::read_head;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The status of the answer.
    async fn status(request: &str) -> String {
        let mut request = request.as_bytes();
        let head = read_head(&mut request, &mut Vec::new()).await;
        let head = head.unwrap().unwrap();
        let bytes = match answer(&head, &["chat.example".to_owned()]) {
            Ok(Answer::Page(bytes) | Answer::Socket(bytes)) => bytes,
            Err(refused) => refusal(refused),
        };
        String::from_utf8(bytes).unwrap()[9..12].to_owned()
    }

    fn upgrade(fields: &str) -> String {
        format!("GET /room HTTP/1.1\r\n{fields}\r\n")
    }

    fn usual() -> String {
        format!(
            "Host: 127.0.0.1:8888\r\nUpgrade: websocket\r\n\
             Connection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        )
    }

    #[tokio::test]
    async fn a_handshake_is_checked() {
        let usual = usual();
        assert_eq!(status(&upgrade(&usual)).await, "101");
        for (old, new, code) in [
            ("Upgrade: websocket", "Upgrade: WebSocket", "101"),
            ("keep-alive, Upgrade", "upgrade", "101"),
            ("Upgrade: websocket", "Upgrade: h2c", "426"),
            ("keep-alive, Upgrade", "keep-alive", "426"),
            ("Version: 13", "Version: 8", "426"),
            ("Version: 13", "Version: 13, 8", "426"),
            (KEY, "dGhlIHNhbXBsZSBub25jZQ=", "400"),
            (KEY, "dGhlIHNhbXBsZSBub25jZ===", "400"),
            (KEY, "dGhlIHNhbXBsZSBub25jZQQ==", "400"),
            ("Sec-WebSocket-Key", "X", "400"),
            ("127.0.0.1:8888", "localhost", "101"),
            ("127.0.0.1:8888", "[::1]:8888", "101"),
            ("127.0.0.1:8888", "CHAT.example:80", "101"),
            ("127.0.0.1:8888", "evil.example:8888", "421"),
            ("127.0.0.1:8888", "127.0.0.1.evil.example", "421"),
        ] {
            assert!(usual.contains(old));
            let request = upgrade(&usual.replace(old, new));
            assert_eq!(status(&request).await, code, "{new}");
        }
        let post = upgrade(&usual).replace("GET", "POST");
        assert_eq!(status(&post).await, "400");
        let old = upgrade(&usual).replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(status(&old).await, "400");
        let body = upgrade(&format!("{usual}Content-Length: 3\r\n"));
        assert_eq!(status(&body).await, "413");
    }

    #[tokio::test]
    async fn only_our_own_page_may_ask() {
        for (origin, code) in [
            ("http://127.0.0.1:8888", "101"),
            ("https://127.0.0.1:8888", "101"),
            ("http://127.0.0.1:8889", "403"),
            ("http://127.0.0.1", "403"),
            ("http://127.0.0.1:8888.evil.example", "403"),
            ("http://localhost:8888", "403"),
            ("http://evil.example", "403"),
            ("ftp://127.0.0.1:8888", "403"),
            ("null", "403"),
            ("", "403"),
        ] {
            let fields = format!("{}Origin: {origin}\r\n", usual());
            assert_eq!(status(&upgrade(&fields)).await, code, "{origin}");
        }
    }

    #[tokio::test]
    async fn files_and_nothing_else() {
        for (line, code) in [
            ("GET /", "200"),
            ("HEAD /", "200"),
            ("GET /?room=a", "200"),
            ("GET /chat.js", "200"),
            ("GET /chat.css", "200"),
            ("GET /dot.svg", "200"),
            ("GET /main.rs", "404"),
            ("GET /../main.rs", "404"),
            ("POST /", "405"),
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            assert_eq!(status(&request).await, code, "{line}");
            let rebound = request.replace("127.0.0.1", "evil.example");
            assert_eq!(status(&rebound).await, "421", "{line}");
        }
    }
}
