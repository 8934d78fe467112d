//! Methods, paths, versions, sizes and framing, as bytes.

use super::JSON;
use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, ask, basic, lines, raw, raw_got, raw_half_closed, read_all};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const QUERY: &str = "hostname=pc.dyn.example&myip=192.0.2.1";
/// A request's head, at most, bytes.
const HEAD: usize = 16 * 1024;
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[test]
fn only_get_and_post_update() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "GETX"]
    {
        for path in ["/update", "/update/", "//update"] {
            let request = lines(&format!("{method} {path}?{QUERY}"), &[&alice], "");
            let reply = ask(scene.daemon.address(), &request).has_status(405);
            assert_eq!(reply.header("allow"), Some("GET, POST"), "{request}: {reply}");
            assert_eq!(reply.body.is_empty(), method == "HEAD", "{request}: {reply}");
        }
        ask(scene.daemon.address(), lines(&format!("{method} /x"), &[], "")).has_status(404);
    }
    assert_eq!(scene.a("pc"), Vec::<String>::new(), "no other method updates");
}

#[test]
fn extra_slashes_in_a_path_are_ignored_and_any_other_difference_is_404() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let status = |target: &str| {
        ask(scene.daemon.address(), lines(&format!("GET {target}"), &[&alice], "")).status
    };
    for path in ["/update", "/update/", "//update", "///update", "/update//", "//update///"] {
        assert_eq!(status(&format!("{path}?{QUERY}")), 200, "{path}");
    }
    // a proxy's form of the request line (RFC 9112, 3.2.2)
    assert_eq!(status(&format!("http://ddns.example/update?{QUERY}")), 200);
    for path in [
        "/",
        "//",
        "/Update",
        "/updat",
        "/updates",
        "/update/x",
        "/x/update",
        "/%75pdate",
        "/update%2F",
        "/./update",
        "/x/../update",
        "/nic/update",
        "/update;x",
    ] {
        assert_eq!(status(&format!("{path}?{QUERY}")), 404, "{path}");
    }
}

#[test]
fn every_reply_has_a_length_and_no_encoding_whatever_the_client_accepts() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let offers = ["Accept-Encoding: gzip, deflate, br, zstd", "TE: trailers, chunked"];
    for (request, version) in [
        ("GET /update?hostname=pc.dyn.example", "1.1"),
        ("GET /update?hostname=pc.dyn.example", "1.0"),
        ("GET /nowhere", "1.1"),
        ("PUT /update", "1.1"),
        ("HEAD /update", "1.0"),
    ] {
        for extra in [vec![], offers.to_vec(), vec![JSON]] {
            let headers = [&[alice.as_str()], &extra[..]].concat();
            let bytes =
                lines(request, &headers, "").replace("HTTP/1.1", &format!("HTTP/{version}"));
            let reply = ask(scene.daemon.address(), &bytes);
            let status = reply.status;
            let reply = reply.has_status(status);
            for absent in ["transfer-encoding", "content-encoding", "trailer", "upgrade"] {
                assert_eq!(reply.header(absent), None, "{bytes}: {reply}");
            }
            assert_eq!(reply.header("connection"), Some("close"), "{bytes}: {reply}");
        }
    }
}

#[test]
fn requests_of_one_connection_are_answered_one_after_the_other() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let kept = |query: &str| {
        lines(&format!("GET /update?{query}"), &[&alice], "").replace("Connection: close\r\n", "")
    };
    let form = lines("POST /update", &[&alice, FORM], QUERY).replace("Connection: close\r\n", "");
    let last = lines(&format!("GET /update?{QUERY}"), &[&alice], "");
    let all = [kept(QUERY), kept("hostname=x"), form, last].concat();
    let got = raw(scene.daemon.address(), all.as_bytes()).unwrap();
    let bodies: Vec<_> =
        got.split("HTTP/1.1 200 OK").filter_map(|one| one.split_once("\r\n\r\n")).collect();
    let bodies: Vec<_> = bodies.into_iter().map(|(_, body)| body).collect();
    let nochg = "nochg 192.0.2.1\n";
    assert_eq!(bodies, ["good 192.0.2.1\n", "notfqdn\n", nochg, nochg], "{got}");
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let mut answer = "good";
    for extra in [
        "",
        "Host: ddns.example\r\n",
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\nKeep-Alive: 300\r\n",
    ] {
        let head = format!("GET /update?{QUERY} HTTP/1.0\r\n{alice}\r\n{extra}\r\n");
        // read to the end: it hangs if the connection is kept
        let reply = ask(scene.daemon.address(), head).is(200, &format!("{answer} 192.0.2.1\n"));
        assert_eq!(reply.header("connection"), Some("close"), "{reply}");
        answer = "nochg";
    }
    let form = format!(
        "POST /update HTTP/1.0\r\n{alice}\r\n{FORM}\r\nContent-Length: {}\r\n\r\n{QUERY}",
        QUERY.len()
    );
    ask(scene.daemon.address(), form).is(200, "nochg 192.0.2.1\n");
}

#[test]
fn a_client_that_half_closes_after_its_request_is_answered_and_the_connection_ends() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let (get, post) =
        (format!("GET /update?{QUERY}"), lines("POST /update", &[&alice, FORM], QUERY));
    let closed = lines(&get, &[&alice], "");
    let (kept, old) =
        (closed.replace("Connection: close\r\n", ""), closed.replace("HTTP/1.1", "HTTP/1.0"));
    let mut answer = "good 192.0.2.1\n";
    for request in [old, post, kept, closed.clone()] {
        let start = Instant::now();
        let got = raw_half_closed(scene.daemon.address(), request.as_bytes()).unwrap();
        let reply = Reply::parse(&got).unwrap_or_else(|| panic!("no reply to {request}: {got:?}"));
        reply.is(200, answer);
        assert!(start.elapsed() < Duration::from_secs(5), "{request}: {:?}", start.elapsed());
        answer = "nochg 192.0.2.1\n";
    }
    // an incomplete request ends too
    for half in ["", "GET /upd", &closed[..closed.len() - 2]] {
        let start = Instant::now();
        let got = raw_half_closed(scene.daemon.address(), half.as_bytes()).unwrap_or_default();
        assert!(!got.contains("200"), "{half:?}: {got}");
        assert!(start.elapsed() < Duration::from_secs(5), "{half:?}: {:?}", start.elapsed());
    }
}

#[test]
fn forms_have_a_maximum_size_and_one_media_type() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let padded = |length: usize| format!("{QUERY}&url={}", "x".repeat(length - QUERY.len() - 5));
    for (kind, form, status) in [
        (FORM, QUERY, 200),
        ("content-type:APPLICATION/x-www-form-URLENCODED ; charset=UTF-8", QUERY, 200),
        (FORM, &padded(16 * 1024), 200),
        (FORM, &padded(16 * 1024 + 1), 413),
        ("Content-Type: application/json", "{}", 415),
        ("Content-Type: application/json", &padded(16 * 1024 + 1), 415),
        ("Content-Type: multipart/form-data; boundary=x", "--x--", 415),
        ("Content-Type: text/plain", QUERY, 415),
        ("X-No-Type: 1", QUERY, 415),
        // an empty body needs no type
        ("Content-Type: application/json", "", 200),
        ("Content-Length: 0", "", 200),
    ] {
        let request = lines(&format!("POST /update?{QUERY}"), &[&alice, kind], form);
        let reply = ask(scene.daemon.address(), &request);
        assert_eq!(reply.status, status, "{kind}, {} bytes: {reply}", form.len());
    }
    // a chunked body works too, and the body of a GET is ignored
    let chunked = lines("POST /update", &[&alice, FORM, "Transfer-Encoding: chunked"], "");
    let (one, two) = QUERY.split_at(9);
    let chunked =
        format!("{chunked}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    ask(scene.daemon.address(), chunked).is(200, "nochg 192.0.2.1\n");
    let with_body = lines(&format!("GET /update?{QUERY}"), &[&alice], "hostname=x");
    ask(scene.daemon.address(), with_body).is(200, "nochg 192.0.2.1\n");
}

#[test]
fn a_body_that_is_declared_too_long_is_not_waited_for() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    for (headers, status) in [
        (&[FORM, "Content-Length: 16385"][..], 413),
        (&[FORM, "Content-Length: 99999999999"], 413),
        (&[FORM, "Content-Length: 99999999999", "Expect: 100-continue"], 413),
        (&["Content-Type: application/json", "Content-Length: 99999999999"], 415),
    ] {
        let headers = [&[alice.as_str()], headers].concat();
        let start = Instant::now();
        let reply = ask(scene.daemon.address(), lines("POST /update", &headers, ""));
        assert_eq!(reply.status, status, "{headers:?}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(5), "after {:?}", start.elapsed());
    }
    // a body on its way is read, so that its sender receives the reply
    for form in ["x".repeat(16 * 1024 + 1), "x".repeat(20_000)] {
        let request = lines("POST /update", &[&alice, FORM], &form);
        let got = raw_got(scene.daemon.address(), request.as_bytes());
        Reply::parse(&got).unwrap_or_else(|| panic!("no reply: {got:?}")).has_status(413);
    }
}

#[test]
fn a_request_for_two_hosts_is_refused() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    for other in ["Host: other.example", "host:"] {
        let request = lines(&format!("GET /update?{QUERY}"), &[&alice, other], "");
        ask(scene.daemon.address(), request).has_status(400);
    }
    assert_eq!(scene.a("pc"), [""; 0]);
}

#[test]
fn queries_and_heads_are_bounded() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let query = |length: usize| format!("{QUERY}&url={}", "x".repeat(length - QUERY.len() - 5));
    scene.get(&query(8192), &[]).is(200, "good 192.0.2.1\n");
    scene.get(&query(8193), &[]).has_status(414);
    // a path alone is no query
    let path = format!("GET /{}", "x".repeat(9000));
    ask(scene.daemon.address(), lines(&path, &[], "")).has_status(404);
    let head = |length: usize| {
        let bare = lines(&format!("GET /update?{QUERY}"), &[&alice, "X-Pad: "], "").len();
        let pad = format!("X-Pad: {}", "x".repeat(length - bare));
        lines(&format!("GET /update?{QUERY}"), &[&alice, &pad], "")
    };
    for length in [15 * 1024, HEAD] {
        ask(scene.daemon.address(), head(length)).is(200, "nochg 192.0.2.1\n");
    }
    ask(scene.daemon.address(), head(HEAD + 1)).has_status(431);
    // unread bytes may reset the connection after the reply
    for length in [17 * 1024, 64 * 1024] {
        let got = raw_got(scene.daemon.address(), head(length).as_bytes());
        let reply = Reply::parse(&got).unwrap_or_else(|| panic!("{length} bytes: {got:?}"));
        reply.has_status(431);
    }
}

#[test]
fn garbage_instead_of_http_is_refused_and_affects_no_other_request() {
    let scene = Scene::new();
    for rubbish in [
        "\x16\x03\x01\x02\x00nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /update HTTP/9.9\r\n\r\n",
        "GET /update HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /update HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "POST /update HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "\r\n\r\n\r\n\0\0\0",
    ] {
        let got = raw_got(scene.daemon.address(), rubbish.as_bytes());
        let reply =
            Reply::parse(&got).unwrap_or_else(|| panic!("no reply to {rubbish:?}: {got:?}"));
        assert_eq!(reply.status, 400, "{rubbish:?}: {reply}");
    }
    // an HTTP/2 client without TLS would not understand a reply in HTTP/1
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(raw_got(scene.daemon.address(), preface), "");
    scene.get(QUERY, &[]).is(200, "good 192.0.2.1\n");
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
}

/// Requests whose framing is ambiguous: an attack, where a proxy in front reads them
/// otherwise.
#[test]
fn ambiguous_framing_is_never_read_as_two_requests() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let smuggled = format!("GET /update?{QUERY} HTTP/1.1\r\nHost: x\r\n{alice}\r\n\r\n");
    let chunked = "Transfer-Encoding: chunked";
    let form = format!("POST /update HTTP/1.1\r\nHost: x\r\n{FORM}\r\n");
    for request in [
        // length and chunks
        format!("{form}Content-Length: 5\r\n{chunked}\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{form}{chunked}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"),
        // chunks, where there are none
        format!("POST /update HTTP/1.0\r\n{FORM}\r\n{chunked}\r\n\r\n0\r\n\r\n{smuggled}"),
        // chunks that are not the last encoding, and spellings of it
        format!("{form}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{form}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{form}Content-Length: 0\r\nContent-Length: 5\r\n\r\n{smuggled}"),
        format!("{form}Content-Length: +0\r\n\r\n{smuggled}"),
    ] {
        let got = raw_got(scene.daemon.address(), request.as_bytes());
        let answers = got.matches("HTTP/1.").count();
        assert!(answers <= 1 && !got.contains(" 200 "), "{request:?}: {got}");
        assert_eq!(scene.a("pc"), [""; 0], "{request:?}: {got}");
    }
    scene.get(QUERY, &[]).is(200, "good 192.0.2.1\n");
}

#[test]
fn unusual_requests_are_answered_as_usual() {
    let scene = Scene::new();
    let (alice, wrong) = (basic("alice", PASSWORD), basic("alice", "wrong"));
    let get = format!("GET /update?{QUERY}");
    for (request, headers, status, body) in [
        (&*get, &[&*alice][..], 200, "good 192.0.2.1\n"),
        // of two lines the first counts, whatever the second is
        (&get, &[&alice, &wrong], 200, "nochg 192.0.2.1\n"),
        (&get, &[&wrong, &alice], 401, "badauth\n"),
        // raw UTF-8 where escapes belong
        ("GET /update?hostname=b\u{fc}cher.example", &[&alice], 200, "nohost\n"),
        ("GET /update?hostname=\u{1f980}\u{1f980}", &[&alice], 200, "notfqdn\n"),
        (&format!("GET /\u{fc}pdate?{QUERY}"), &[&alice], 404, "there is nothing here\n"),
        (&get, &["Cookie: a=b", &alice, "X-Empty:", "Accept:"], 200, "nochg 192.0.2.1\n"),
    ] {
        let bytes = lines(request, headers, "");
        let reply = ask(scene.daemon.address(), &bytes);
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{bytes}");
    }
}

#[test]
fn a_client_that_expects_100_continue_receives_it() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let length = format!("Content-Length: {}", QUERY.len());
    let head = lines("POST /update", &[&alice, FORM, "Expect: 100-continue", &length], "");
    let mut stream = TcpStream::connect(scene.daemon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(QUERY.as_bytes()).unwrap();
    let reply = Reply::parse(&read_all(stream).unwrap()).unwrap();
    reply.is(200, "good 192.0.2.1\n");
}

#[test]
fn the_body_of_a_request_that_is_refused_is_not_the_next_request() {
    let scene = Scene::new();
    let alice = basic("alice", PASSWORD);
    let smuggled = lines(&format!("GET /update?{QUERY}"), &[&alice], "");
    for request in ["POST /nowhere", "PUT /update", "DELETE /nowhere", "GET /nowhere"] {
        let refused = lines(request, &[&alice, FORM], &smuggled);
        let refused = refused.replacen("Connection: close\r\n", "", 1);
        let next = lines("GET /update?hostname=x", &[&alice], "");
        let got = raw_got(scene.daemon.address(), (refused + &next).as_bytes());
        let answers: Vec<_> = got.split("HTTP/1.1 ").skip(1).map(|one| &one[..3]).collect();
        // it may also close instead of reading the body
        assert!(
            [&["404", "200"][..], &["405", "200"], &["404"], &["405"]].contains(&&*answers),
            "{got}"
        );
        assert!(answers.len() == 1 || got.ends_with("notfqdn\n"), "{request}: {got}");
        assert_eq!(scene.a("pc"), [""; 0], "{request}: {got}");
    }
}
