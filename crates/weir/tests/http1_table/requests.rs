//! The 120 requests. Each is sent in one write, a byte at a time, and split at random points.
//!
//! A refused request is answered with 4xx or 5xx, its connection is closed, and not one byte of it reaches the backend.
//! What came with the head is judged before a backend is connected; a body that turns out to be wrong later may have
//! been passed on in part, but never arrives as a complete request.

use weir_testkit::{FakeBackend, Message, RawClient, wait_until};

use crate::{
    cases::{self, Case},
    support::{Setup, Weir},
};

/// What must become of a request.
enum Expect {
    /// Refused with one of these; 0 is a close without an answer.
    Refused(&'static [u16]),
    /// Passed on, and what the backend and the client saw is right.
    Passed(Check),
    /// Either of them.
    Either(&'static [u16], Check),
    /// Answered with the settings of HTTP/2.
    Multiplexed,
}
use Expect::{Either, Multiplexed, Passed, Refused};

/// Judges what a request that was passed on became.
type Check = fn(&Seen) -> bool;

/// What the backend and the client saw of one request.
struct Seen {
    /// At the backend, in order.
    requests: Vec<Message>,
    /// At the client: final responses, in order.
    responses: Vec<Message>,
    /// Whether the client's connection was closed after the last of them.
    closed: bool,
}

impl Seen {
    fn first(&self) -> &Message {
        &self.requests[0]
    }

    /// One request with this target and body; its connection may carry more.
    fn one(&self, target: &str, body: &str) -> bool {
        self.requests.len() == 1 && self.first().target() == target && self.first().text() == body
    }
}

/// Any refusal that fits a malformed message.
const BAD: &[u16] = &[400];
/// A transfer coding that is not understood.
const CODING: &[u16] = &[400, 501];

/// One GET of `/` without a body.
fn plain(seen: &Seen) -> bool {
    seen.one("/", "")
}

/// One POST of `/` with this body and nothing beside it.
fn abcd(seen: &Seen) -> bool {
    seen.one("/", "abcd") && seen.first().all("content-length").iter().all(|value| value.parse() == Ok(4))
}

/// One POST with an empty chunked body.
fn empty_chunked(seen: &Seen) -> bool {
    seen.one("/", "") && !(seen.first().has("content-length") && seen.first().has("transfer-encoding"))
}

/// One POST with a chunked body.
fn abc(seen: &Seen) -> bool {
    seen.one("/", "abc")
}

/// Every request of the table, in its order.
const TABLE: [(&str, Expect); 120] = [
    ("baseline_get", Passed(plain)),
    // Transfer-Encoding wins and the connection is closed, so that what follows is no request.
    ("cl_te_both", Either(BAD, |seen| empty_chunked(seen) && seen.closed)),
    ("te_cl_obs_space", Refused(BAD)),
    ("te_xchunked", Refused(CODING)),
    ("te_identity", Refused(CODING)),
    ("te_chunked_identity", Refused(CODING)),
    ("te_identity_chunked", Refused(CODING)),
    (
        "te_gzip_chunked",
        Either(CODING, |seen| empty_chunked(seen) && seen.first().lists("transfer-encoding", "gzip")),
    ),
    ("te_dup_chunked", Refused(CODING)),
    ("te_two_lines", Refused(CODING)),
    ("te_quoted", Refused(CODING)),
    ("te_vt_prefix", Refused(CODING)),
    ("te_lf_only_name", Refused(BAD)),
    ("te_in_http10", Refused(BAD)),
    ("te_comma_empty", Either(CODING, empty_chunked)),
    ("te_case", Passed(empty_chunked)),
    ("cl_dup_diff", Refused(BAD)),
    ("cl_dup_same", Either(BAD, |seen| abcd(seen) && seen.first().all("content-length").len() == 1)),
    ("cl_list_same", Either(BAD, |seen| abcd(seen) && seen.first().all("content-length").len() == 1)),
    ("cl_list_diff", Refused(BAD)),
    ("cl_plus", Refused(BAD)),
    ("cl_neg", Refused(BAD)),
    ("cl_hex", Refused(BAD)),
    ("cl_space_inside", Refused(BAD)),
    ("cl_empty", Refused(BAD)),
    ("cl_overflow", Refused(&[400, 413])),
    ("cl_underscore", Either(BAD, |seen| plain(seen) && !seen.first().has("content_length"))),
    ("cl_leading_zeros", Passed(abcd)),
    ("cl_float", Refused(BAD)),
    ("chunk_neg", Refused(BAD)),
    ("chunk_0x", Refused(BAD)),
    ("chunk_overflow", Refused(&[400, 413])),
    ("chunk_lf_only", Refused(BAD)),
    ("chunk_ext", Passed(abc)),
    ("chunk_ext_lf_termext", Refused(BAD)),
    ("chunk_ext_16k", Either(BAD, abc)),
    ("chunk_bad_crlf", Refused(BAD)),
    ("chunk_trailing_space_size", Either(BAD, abc)),
    ("chunk_empty_size", Refused(BAD)),
    ("chunk_cr_in_size", Refused(BAD)),
    (
        "trailer_te_cl",
        Either(BAD, |seen| {
            empty_chunked(seen)
                && seen.first().all("host") == ["a.test"]
                && seen.first().trailer("content-length").is_none()
                && seen.first().trailer("host").is_none()
        }),
    ),
    ("hdr_space_before_colon", Refused(BAD)),
    ("hdr_obs_fold", Either(BAD, |seen| plain(seen) && seen.first().header("x-a") == Some("1 folded"))),
    ("hdr_leading_space_first", Refused(BAD)),
    ("hdr_nul_value", Refused(BAD)),
    ("hdr_bare_cr_value", Refused(BAD)),
    ("hdr_bare_lf_inject", Either(BAD, |seen| plain(seen) && seen.first().header("x-a") == Some("a"))),
    ("hdr_empty_name", Refused(BAD)),
    ("hdr_ctl_name", Refused(BAD)),
    ("hdr_highbit_name", Refused(BAD)),
    ("hdr_no_colon", Refused(BAD)),
    ("hdr_utf8_value", Passed(|seen| plain(seen) && seen.first().header("x-a") == Some("\u{c3}\u{a9}"))),
    ("hdr_del_value", Either(BAD, plain)),
    ("hdr_too_big_64k", Refused(&[400, 431])),
    ("hdr_too_many_5000", Refused(&[400, 431])),
    ("hdr_underscore", Either(BAD, |seen| plain(seen) && !seen.first().has("x_real_ip"))),
    ("host_missing_11", Refused(BAD)),
    ("host_dup_same", Refused(BAD)),
    ("host_dup_diff", Refused(BAD)),
    ("host_invalid_chars", Refused(BAD)),
    ("host_userinfo", Refused(BAD)),
    ("host_comma", Refused(BAD)),
    ("host_empty", Either(BAD, plain)),
    ("host_port_bad", Refused(BAD)),
    (
        "abs_uri_host_mismatch",
        Either(BAD, |seen| seen.one("/x", "") && seen.first().all("host") == ["a.test"]),
    ),
    ("abs_uri_https_on_plain", Either(&[400, 421], |seen| seen.one("/x", ""))),
    ("abs_uri_userinfo", Either(BAD, |seen| plain(seen) && seen.first().all("host") == ["a.test"])),
    ("abs_uri_file", Refused(BAD)),
    ("reqline_asterisk_get", Refused(BAD)),
    ("options_asterisk", Passed(|seen| seen.one("*", "") && seen.first().method() == "OPTIONS")),
    ("connect_reverse_proxy", Refused(&[400, 405, 501])),
    ("trace_method", Either(&[405, 501], plain)),
    ("method_ctl", Refused(BAD)),
    ("method_lower", Either(&[400, 501], |seen| plain(seen) && seen.first().method() == "get")),
    ("method_unknown", Either(&[501], |seen| plain(seen) && seen.first().method() == "FOOBAR")),
    ("reqline_double_space", Refused(BAD)),
    ("reqline_tab", Refused(BAD)),
    ("reqline_space_in_path", Refused(BAD)),
    ("reqline_nul_path", Refused(BAD)),
    ("reqline_fragment", Either(BAD, |seen| seen.one("/a", ""))),
    (
        "reqline_raw_utf8_path",
        Either(BAD, |seen| ["/\u{c3}\u{a9}", "/%C3%A9"].contains(&seen.first().target())),
    ),
    ("reqline_64k_uri", Refused(&[414])),
    ("reqline_no_slash", Refused(BAD)),
    ("version_09", Refused(&[0, 400, 505])),
    // A minor version above ours is served as ours.
    ("version_12", Either(&[505], |seen| plain(seen) && seen.first().start.ends_with(" HTTP/1.1"))),
    ("version_20_text", Refused(&[400, 505])),
    ("version_lower", Refused(BAD)),
    ("version_11_junk", Refused(BAD)),
    ("version_01_1", Refused(BAD)),
    ("leading_crlf", Passed(plain)),
    ("leading_crlf_many", Either(BAD, plain)),
    ("lf_only_request", Either(BAD, plain)),
    ("h2_preface_on_h1", Multiplexed),
    ("tls_hello_on_plain", Refused(&[0, 400])),
    ("conn_strip_custom", Passed(|seen| plain(seen) && !seen.first().has("x-auth") && seen.closed)),
    (
        "conn_strip_xff_abuse",
        Passed(|seen| {
            plain(seen)
                && seen.first().all("host") == ["a.test"]
                && seen.first().all("x-forwarded-for") == ["127.0.0.1"]
        }),
    ),
    ("conn_strip_cl_abuse", Either(BAD, abcd)),
    (
        "hop_keepalive_te_upgrade",
        Passed(|seen| {
            let hop = ["keep-alive", "proxy-connection", "te", "proxy-authorization"];
            plain(seen) && !hop.iter().any(|name| seen.first().has(name))
        }),
    ),
    ("te_trailers_only_fwd", Passed(plain)),
    (
        "upgrade_h2c",
        Passed(|seen| {
            let upgrade = ["upgrade", "http2-settings"];
            plain(seen) && !upgrade.iter().any(|name| seen.first().has(name))
        }),
    ),
    // The backend does not switch, so neither does weir: that the connection goes on as HTTP is tested for every row.
    ("upgrade_ws_bad_version", Passed(plain)),
    // With Max-Forwards 0 it must not be passed on (RFC 9110, 7.6.2).
    ("max_forwards_0_trace", Refused(&[200, 405, 501])),
    ("expect_unknown", Either(&[417], |seen| seen.one("/", "a"))),
    // The table states 100 and 200. An interim answer is not needed when the body is there (RFC 9110, 10.1.1).
    ("expect_100", Passed(|seen| seen.one("/", "a"))),
    ("get_with_body_smuggle", Passed(|seen| seen.one("/", "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"))),
    ("head_with_cl_body", Passed(|seen| seen.one("/", "abc") && seen.responses[0].body.is_empty())),
    (
        "pipeline_two",
        Passed(|seen| {
            let targets: Vec<_> = seen.requests.iter().map(Message::target).collect();
            targets == ["/", "/2"] && seen.responses.len() == 2
        }),
    ),
    ("http10_keepalive_cl", Passed(plain)),
    ("path_dotdot", Passed(|seen| ["/admin", "/public/../admin"].contains(&seen.first().target()))),
    ("path_dotdot_escape", Either(BAD, |seen| seen.one("/etc/passwd", ""))),
    ("path_pct2e", Either(BAD, |seen| seen.one("/admin", ""))),
    ("path_pct2f", Either(BAD, |seen| seen.first().target().eq_ignore_ascii_case("/public%2f..%2fadmin"))),
    ("path_pct252f", Passed(|seen| seen.first().target().eq_ignore_ascii_case("/public%252f..%252fadmin"))),
    ("path_bad_pct", Either(BAD, |seen| seen.one("/%zz", ""))),
    ("path_pct00", Refused(BAD)),
    ("path_dbl_slash", Passed(|seen| ["/admin", "//admin"].contains(&seen.first().target()))),
    ("path_semicolon", Passed(|seen| seen.one("/public/..;/admin", ""))),
    ("path_backslash", Either(BAD, |seen| seen.one("/public\\..\\admin", ""))),
    (
        "xff_spoof",
        Passed(|seen| {
            let forwarded = seen.first().all("x-forwarded-for");
            plain(seen)
                && forwarded.last().is_some_and(|last| last.ends_with("127.0.0.1"))
                && forwarded.len() == 1
        }),
    ),
    ("proxy_v1_unexpected", Refused(BAD)),
];

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Whole,
    Bytes,
    Split(u64),
}

struct Bench {
    weir: Weir,
    backend: FakeBackend,
}

impl Bench {
    fn new() -> Self {
        let backend = FakeBackend::echo();
        let weir = Setup::http(&[backend.address()]).start();
        Self { weir, backend }
    }

    /// Sends a request and says what became of it; an error is a sentence.
    fn run(&self, case: &Case, expect: &Expect, writing: Writing) -> Result<bool, String> {
        self.backend.forget();
        let mut client = RawClient::connect(self.weir.address());
        if let Multiplexed = expect {
            client.send(&case.bytes);
            let said = client.read_exact(9);
            let settings = said.get(3..9) == Some(&[4, 0, 0, 0, 0, 0]);
            return if settings { Ok(false) } else { Err(format!("answered with {said:?}")) };
        }
        match writing {
            Writing::Whole => client.send(&case.bytes),
            Writing::Bytes => client.send_byte_by_byte(&case.bytes),
            Writing::Split(seed) => client.send_split(&case.bytes, &cuts(case.bytes.len(), seed)),
        };
        let method = if case.bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
        let first = loop {
            match client.response(method) {
                Some(interim) if (100..200).contains(&interim.status()) && interim.status() != 101 => {}
                other => break other,
            }
        };
        let status = first.as_ref().map_or(0, Message::status);
        let refused = match expect {
            Refused(_) => true,
            Passed(_) | Multiplexed => false,
            Either(..) => status != 200,
        };
        match expect {
            Refused(allowed) | Either(allowed, _) if refused => {
                self.judge_refused(&mut client, status, allowed, case, writing)?;
            }
            Passed(check) | Either(_, check) => self.judge_passed(&mut client, first, method, *check)?,
            Refused(_) | Multiplexed => {}
        }
        Ok(refused)
    }

    fn judge_refused(
        &self,
        client: &mut RawClient,
        status: u16,
        allowed: &[u16],
        case: &Case,
        writing: Writing,
    ) -> Result<(), String> {
        if !allowed.contains(&status) {
            return Err(format!("answered with {status}, not one of {allowed:?}"));
        }
        if !client.closed() {
            return Err(format!("answered with {status}, but the connection stayed open"));
        }
        // A request that is known to arrive after it: what the backend has now is all that it will ever get.
        let mut sentinel = RawClient::connect(self.weir.address());
        if sentinel.get("/sentinel").status() != 200 {
            return Err("the next request on a new connection failed".into());
        }
        let late = writing != Writing::Whole && body_is_wrong(&case.id);
        if late {
            wait_until("the cut-off connection to the backend has ended", || self.backend.open() <= 1);
        }
        let requests = self.backend.requests();
        if requests.len() != 1 || requests[0].target() != "/sentinel" {
            let starts: Vec<_> = requests.iter().map(|request| &request.start).collect();
            // A wrong body that came after its head has cut the backend's connection off in the middle.
            if !late || requests.iter().any(is_foreign) {
                return Err(format!("refused, but the backend saw {starts:?}"));
            }
        } else if !late {
            let sentinel = self.backend.bytes();
            if !sentinel.starts_with(b"GET /sentinel") {
                return Err(format!("refused, but the backend got {} bytes more", sentinel.len()));
            }
        }
        Ok(())
    }

    fn judge_passed(
        &self,
        client: &mut RawClient,
        first: Option<Message>,
        method: &str,
        check: Check,
    ) -> Result<(), String> {
        let first = first.ok_or("the connection was closed without an answer")?;
        if !first.start.starts_with("HTTP/1.1 200") {
            return Err(format!("answered with {}", first.start));
        }
        // A second request shows that both sides agree where the first one ended.
        let mut responses = vec![first];
        client.send("GET /after HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let mut after = false;
        while let Some(response) = client.response(method) {
            after = method == "HEAD" || response.text().starts_with("GET /after ");
            if after {
                break;
            }
            responses.push(response);
        }
        let mut requests = self.backend.requests();
        requests.retain(|request| request.target() != "/after");
        if requests.is_empty() {
            return Err("answered with 200, but the backend saw nothing".into());
        }
        if let Some(cut) = requests.iter().find(|request| !request.complete) {
            return Err(format!("the backend saw a part of {}", cut.start));
        }
        let seen = Seen { requests, responses, closed: !after };
        let says_close = seen.responses.iter().any(|response| response.lists("connection", "close"));
        if !after && !says_close {
            return Err("the connection went no further, though nobody said close".into());
        }
        if !check(&seen) {
            let seen: Vec<_> = seen.requests.iter().map(Message::to_string).collect();
            return Err(format!("passed on wrongly: {}", seen.join("; ")));
        }
        Ok(())
    }
}

/// Anything at the backend but the sentinel and the one cut-off request.
fn is_foreign(request: &Message) -> bool {
    request.target() != "/sentinel" && (request.target() != "/" || request.complete)
}

/// Rows whose head is right and whose chunks are not.
fn body_is_wrong(id: &str) -> bool {
    id.starts_with("chunk_") || id == "trailer_te_cl"
}

/// Up to five offsets, the same for the same seed.
fn cuts(length: usize, seed: u64) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % length.max(1) as u64) as usize
    };
    let mut cuts: Vec<usize> = (0..5).map(|_| next()).collect();
    cuts.sort_unstable();
    cuts
}

/// Runs the whole table, reports every row that fails, and returns the ids of those that were refused and passed.
fn run_all(writing: impl Fn(usize) -> Writing) -> (Vec<String>, Vec<String>) {
    let bench = Bench::new();
    let (mut refused, mut passed, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (case, (id, expect))) in cases::read("requests").iter().zip(&TABLE).enumerate() {
        assert_eq!(case.id, *id, "the table and its judgement are in different order");
        match bench.run(case, expect, writing(index)) {
            Ok(true) => refused.push(case.id.clone()),
            Ok(false) => passed.push(case.id.clone()),
            Err(sentence) => wrong.push(format!("{id}: {sentence}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
    (refused, passed)
}

/// The rows that the table leaves no choice for: only refusals, only plain 200.
pub(crate) fn without_choice() -> (Vec<String>, Vec<String>) {
    let is_refusal = |word: &str| word == "close" || word.starts_with(['4', '5']) && word.len() == 3;
    let (mut refuse, mut accept) = (Vec::new(), Vec::new());
    for case in cases::read("requests") {
        if case.expect.split('|').all(is_refusal) {
            refuse.push(case.id);
        } else if case.expect.split(',').all(|status| status == "200") {
            accept.push(case.id);
        }
    }
    (refuse, accept)
}

#[test]
fn what_must_be_refused_is_refused_and_what_must_pass_passes() {
    let (refused, passed) = run_all(|_| Writing::Whole);
    let (refuse, accept) = without_choice();
    let count = |of: &[String], among: &[String]| of.iter().filter(|id| among.contains(id)).count();
    println!(
        "{} of {} refused, {} of {} passed; {} refused and {} passed of all",
        count(&refuse, &refused),
        refuse.len(),
        count(&accept, &passed),
        accept.len(),
        refused.len(),
        passed.len()
    );
    assert_eq!((refuse.len(), accept.len()), (63, 10));
    assert_eq!((count(&refuse, &refused), count(&accept, &passed)), (63, 10));
}

#[test]
fn a_byte_at_a_time_makes_no_difference() {
    run_all(|_| Writing::Bytes);
}

#[test]
fn splits_make_no_difference() {
    for round in 1..=3 {
        run_all(|index| Writing::Split(round * 1000 + index as u64));
    }
}
