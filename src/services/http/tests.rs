//! The parser at every byte, and the server over a link in memory.

use crate::services::tests::{Fixture, get};
use crate::services::{Http, Pattern};
use crore_base::Duration;

use super::{HEAD_MAX, Method, Parsed, Request, Status, TARGET_MAX, find_head_end, parse_head};

fn complete(bytes: &[u8]) -> Request<'_> {
    match parse_head(bytes) {
        Parsed::Complete(length, request) => {
            assert_eq!(
                length,
                bytes.len(),
                "all of it is the head: {:?}",
                String::from_utf8_lossy(bytes)
            );
            request
        }
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn requests_that_are_understood() {
    let host = "Host: a\r\n";
    for (line, fields, method, old, keep_alive) in [
        ("GET / HTTP/1.1", host, Method::Get, false, true),
        ("HEAD /x?y=z HTTP/1.1", host, Method::Head, false, true),
        (
            "GET / HTTP/1.1",
            "host:a\r\nConnection: close\r\n",
            Method::Get,
            false,
            false,
        ),
        (
            "GET / HTTP/1.1",
            "HOST: a\r\nconnection: Upgrade , Close\r\n",
            Method::Get,
            false,
            false,
        ),
        ("GET / HTTP/1.0", "", Method::Get, true, false),
        (
            "GET / HTTP/1.0",
            "Connection: Keep-Alive\r\n",
            Method::Get,
            true,
            true,
        ),
        ("GET http://a/ HTTP/1.1", host, Method::Get, false, true),
        ("GET / HTTP/1.2", host, Method::Get, false, true),
        (
            "GET / HTTP/1.1",
            "Host:\r\nX-Odd: \t\r\nx: caf\u{e9}\r\n",
            Method::Get,
            false,
            true,
        ),
    ] {
        let text = format!("{line}\r\n{fields}\r\n");
        let request = complete(text.as_bytes());
        assert_eq!(
            (request.method, request.old, request.keep_alive),
            (method, old, keep_alive),
            "{text:?}"
        );
        let bare = text.replace("\r\n", "\n");
        assert_eq!(complete(bare.as_bytes()), request, "a bare LF ends a line too");
        let late = format!("\r\n\n{text}");
        assert_eq!(complete(late.as_bytes()), request, "empty lines may come before");
    }
    let posted = complete(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\ncontent-length: 12\r\n\r\n");
    assert_eq!(posted.body, 12, "a body that nobody wants is read over");
}

#[test]
fn requests_that_are_refused_with_the_right_status() {
    use Status::{
        BadRequest, ContentTooLarge, FieldsTooLarge, MethodNotAllowed, NotImplemented, TargetTooLong,
        VersionNotSupported,
    };
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(TARGET_MAX));
    let endless_target = format!("GET /{}", "x".repeat(TARGET_MAX + 100));
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(HEAD_MAX));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let table: &[(&str, Status)] = &[
        ("\x16\x03\x01\x02\x00\x01\x00\x01", BadRequest),
        (" GET / HTTP/1.1\r\n", BadRequest),
        ("GET\r\n", BadRequest),
        ("GET /\r\n", BadRequest),
        ("GET / HTTP/1.1 \r\n", BadRequest),
        ("GET  / HTTP/1.1\r\n", BadRequest),
        ("GET x HTTP/1.1\r\n", BadRequest),
        ("GET /\x7f HTTP/1.1\r\n", BadRequest),
        ("GET / HTTP/1.1\r\n\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost : a\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n", BadRequest),
        ("GET / HTTP/1.1\r\n: a\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nno-colon\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n", BadRequest),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
            ContentTooLarge,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
            NotImplemented,
        ),
        ("POST / HTTP/1.1\r\n", MethodNotAllowed),
        ("OPTIONS / HTTP/1.1\r\n", MethodNotAllowed),
        ("BREW / HTTP/1.1\r\n", NotImplemented),
        ("get / HTTP/1.1\r\n", NotImplemented),
        ("GET / HTTP/2.0\r\n", VersionNotSupported),
        ("GET / HTTP/0.9\r\n", VersionNotSupported),
        ("GET / http/1.1\r\n", BadRequest),
        (&long_target, TargetTooLong),
        (&endless_target, TargetTooLong),
        (&long_field, FieldsTooLarge),
        (&long_field[..HEAD_MAX], FieldsTooLarge),
        (&many_fields, FieldsTooLarge),
    ];
    for (text, wanted) in table {
        let start: String = text.chars().take(60).collect();
        assert_eq!(parse_head(text.as_bytes()), Parsed::Refused(*wanted), "{start:?}");
    }
}

#[test]
fn a_request_that_has_not_wholly_come_is_never_refused_nor_taken() {
    let text = b"GET /some/where?a=b HTTP/1.1\r\nHost: example\r\nAccept: */*\r\n\r\n";
    for cut in 0..text.len() {
        assert_eq!(parse_head(&text[..cut]), Parsed::Partial, "cut at {cut}");
        assert_eq!(find_head_end(&text[..cut], 0), None, "cut at {cut}");
        for scanned in 0..=cut {
            assert_eq!(
                find_head_end(text, scanned),
                Some(text.len()),
                "searched {scanned} before"
            );
        }
    }
}

#[test]
fn the_parser_survives_every_byte_at_every_place() {
    let text = b"GET /a HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
    for at in 0..text.len() {
        for byte in 0..=255 {
            let mut bytes = text.to_vec();
            bytes[at] = byte;
            if let Parsed::Complete(length, request) = parse_head(&bytes) {
                assert!(length <= bytes.len(), "it takes no more than there is");
                assert!(!request.target.is_empty(), "a request has a target");
            }
        }
    }
}

#[test]
fn a_request_cut_at_any_byte_is_answered_once() {
    let request = get("/", "Host: a\r\n");
    let mut fixture = Fixture::new(Http::with_body(5), 80);
    let client = fixture.connect();
    let whole = fixture.ask(client, &[&request]);
    assert!(
        whole.ends_with(b"\r\n\r\n !\"#$"),
        "the body is the pattern: {whole:?}"
    );
    for cut in 1..request.len() {
        let answer = fixture.ask(client, &[&request[..cut], &request[cut..]]);
        assert_eq!(answer, whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    assert_eq!(fixture.ask(client, &bytes), whole, "one byte at a time");
}

#[test]
fn pipelined_requests_are_answered_in_order_wherever_they_are_cut() {
    let mut three = get("/1", "Host: a\r\n");
    three.extend(b"HEAD /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody".as_slice());
    three.extend(b"\r\n".as_slice());
    three.extend(get("/3", "Host: a\r\n"));
    let mut fixture = Fixture::new(Http::with_body(5), 80);
    let client = fixture.connect();
    let whole = fixture.ask(client, &[&three]);
    let heads = whole.windows(8).filter(|w| w == b"HTTP/1.1").count();
    let bodies = whole.windows(5).filter(|w| w == b" !\"#$").count();
    assert_eq!(
        (heads, bodies),
        (3, 2),
        "three answers, of which one without body"
    );
    for cut in 1..three.len() {
        let answer = fixture.ask(client, &[&three[..cut], &three[cut..]]);
        assert_eq!(answer, whole, "cut at {cut}");
    }
}

#[test]
fn a_refusal_reaches_the_peer_and_ends_the_connection() {
    let mut fixture = Fixture::new(Http::with_body(5), 80);
    let client = fixture.connect();
    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n".to_vec();
    request.extend([b'x'; 20_000]);
    let answer = fixture.ask(client, &[&request]);
    assert!(
        answer.starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"),
        "{answer:?}"
    );
    assert!(fixture.ended(client), "the server said that it ends");
    fixture.close(client);
    fixture.assert_nothing_is_left();
}

#[test]
fn close_and_http_1_0_end_the_connection_after_the_answer() {
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let mut fixture = Fixture::new(Http::with_body(5), 80);
        let client = fixture.connect();
        let answer = fixture.ask(client, &[request.as_bytes()]);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.contains("Connection: close\r\n") && text.ends_with(" !\"#$"),
            "{text}"
        );
        assert!(fixture.ended(client), "{request:?}");
        fixture.close(client);
        fixture.assert_nothing_is_left();
    }
}

#[test]
fn a_body_larger_than_every_buffer_arrives_whole() {
    const LEN: usize = 3_000_000;
    let mut fixture = Fixture::new(Http::with_body(LEN as u64), 80);
    let client = fixture.connect();
    let answer = fixture.ask(client, &[&get("/", "Host: a\r\n")]);
    let body = &answer[answer.len() - LEN..];
    let wrong = body
        .iter()
        .enumerate()
        .find(|&(i, &b)| b != Pattern::byte_at(i as u64));
    assert_eq!(wrong, None, "every byte is in its place");
}

#[test]
fn files_are_served_and_nothing_outside_the_root_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("sub")).expect("a folder");
    std::fs::write(root.join("index.html"), "<p>home").expect("a file");
    std::fs::write(root.join("sub/a b.txt"), "spaced").expect("a file");
    std::fs::write(root.join("empty"), "").expect("a file");
    std::fs::write(folder.path().join("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink("../secret", root.join("out")).expect("a link");
    std::os::unix::fs::symlink("sub/a b.txt", root.join("in.txt")).expect("a link");
    let large: Vec<u8> = (0..1_000_003u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(root.join("large.bin"), &large).expect("a file");

    let mut fixture = Fixture::new(Http::with_root(&root).expect("a root"), 80);
    let client = fixture.connect();
    for (target, status, kind, body) in [
        ("/", "200", "text/html", b"<p>home".as_slice()),
        ("/?x=/../..", "200", "text/html", b"<p>home"),
        ("/sub/a%20b.txt", "200", "text/plain", b"spaced"),
        ("/in.txt", "200", "text/plain", b"spaced"),
        ("http://a/sub/../index.html", "404", "", b""),
        ("/empty", "200", "octet-stream", b""),
        ("/large.bin", "200", "octet-stream", &large),
        ("/missing", "404", "text/plain", b"404 Not Found\n"),
        ("/sub", "404", "", b""),
        ("/out", "404", "", b""),
        ("/../secret", "404", "", b""),
        ("/%2e%2e/secret", "404", "", b""),
        ("/sub/%2e%2e%2f%2e%2e%2fsecret", "404", "", b""),
        ("//etc/passwd", "404", "", b""),
        ("/%00", "400", "", b""),
        ("/%zz", "400", "", b""),
        ("/%ff", "404", "", b""),
    ] {
        let answer = fixture.ask(client, &[&get(target, "Host: a\r\n")]);
        let start = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        assert!(
            start.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {start}"
        );
        assert!(start.contains(kind), "{target}: {start}");
        assert!(!start.contains("secret"), "{target}: {start}");
        assert!(answer.ends_with(body), "{target}: the body");
    }
}

#[test]
fn a_silent_connection_is_closed_and_one_that_never_reads_is_reset() {
    let mut fixture = Fixture::new(Http::with_body(50_000_000), 80);
    let silent = fixture.connect();
    let stuck = fixture.connect();
    fixture.write(stuck, &get("/", "Host: a\r\n"));
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.open(), 2, "not yet");
    fixture.pass(Duration::from_secs(4));
    assert_eq!(fixture.open(), 0, "both have ended");
    fixture.close(silent);
    fixture.close(stuck);
    fixture.assert_nothing_is_left();
}
