//! The 33 answers of backends. A client sees a whole answer, 502 or 504, or plainly a cut-off one; never an answer that
//! was meant for another, and never a backend's connection again whose state is in doubt.

use std::time::Duration;

use weir_testkit::{Answer, End, FakeBackend, Message, RawClient};

use crate::{cases, support::Setup};

/// What a client must see.
enum Expect {
    /// 502 (or 504), made by weir.
    Failed(u16),
    /// A 200 whose end is missing, or 502 if weir noticed before it passed anything on.
    Truncated,
    /// The backend's answer, and what was checked of it holds.
    Passed(Check),
    /// 502, or the answer.
    Either(Check),
}
use Expect::{Either, Failed, Passed, Truncated};

type Check = fn(&Message) -> bool;

/// Whether the backend's connection may carry another request.
#[derive(PartialEq, Eq)]
enum Reuse {
    /// It must, or keep-alive is worth nothing.
    Must,
    /// It must not: nobody knows what comes next on it.
    Never,
    /// It is gone anyway, or both are fine.
    Any,
}
use Reuse::{Any, Must, Never};

fn ok(response: &Message) -> bool {
    response.status() == 200 && response.text() == "ok" && response.complete
}

/// Every answer of the table, in its order.
const TABLE: [(&str, Expect, Reuse); 33] = [
    ("ok", Passed(ok), Must),
    ("cl_te_both", Either(|response| ok(response) && !response.has("content-length")), Never),
    ("cl_dup_diff", Failed(502), Never),
    ("cl_bad", Failed(502), Never),
    ("cl_short_close", Truncated, Any),
    ("cl_extra_bytes", Passed(ok), Never),
    ("chunk_trunc", Truncated, Any),
    ("chunk_no_last", Truncated, Any),
    ("chunk_bad_size", Truncated, Never),
    ("te_unknown", Failed(502), Never),
    ("hdr_lf_inject", Either(|response| ok(response) && response.header("x") == Some("a")), Any),
    ("hdr_nul", Failed(502), Never),
    // RFC 9112, 5.1: a proxy removes the space if it passes the answer on.
    ("hdr_space_colon", Either(|response| ok(response) && response.header("x-a") == Some("b")), Any),
    ("hdr_obs_fold", Either(|response| ok(response) && response.header("x-a") == Some("b c")), Any),
    ("hdr_huge", Failed(502), Never),
    ("status_junk", Failed(502), Never),
    ("status_99", Failed(502), Never),
    ("status_1000", Failed(502), Never),
    ("status_no_reason", Passed(ok), Any),
    ("not_http", Failed(502), Never),
    ("http09", Failed(502), Never),
    ("empty_close", Failed(502), Any),
    ("v10_eof_body", Passed(|response| response.text() == "hello" && response.complete), Any),
    (
        "204_with_body",
        Passed(|response| {
            response.status() == 204 && !response.has("content-length") && !response.has("transfer-encoding")
        }),
        Never,
    ),
    ("304_with_body", Passed(|response| response.status() == 304), Never),
    ("101_unasked", Failed(502), Never),
    ("many_1xx", Either(ok), Any),
    ("100_then_200", Passed(ok), Any),
    (
        "conn_nominated",
        Passed(|response| ok(response) && !response.has("x-secret") && !response.has("keep-alive")),
        Any,
    ),
    ("trailers", Passed(|response| ok(response) && response.trailer("content-length").is_none()), Any),
    ("hang", Failed(504), Never),
    ("rst_mid", Truncated, Any),
    ("slow_head", Passed(ok), Any),
];

/// The answers of a backend that ends its connection after them.
const CLOSING: [&str; 7] =
    ["cl_short_close", "chunk_trunc", "chunk_no_last", "not_http", "http09", "empty_close", "v10_eof_body"];

/// Answers `/ID` with the row of that id, and anything else with `fine`.
fn backend() -> FakeBackend {
    let cases = cases::read("answers");
    FakeBackend::answering_each(move |request| {
        let id = request.target().trim_start_matches('/');
        let Some(case) = cases.iter().find(|case| case.id == id) else { return Answer::ok("fine") };
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        match id {
            "hang" => Answer::hang(),
            "rst_mid" => Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok").then_reset(),
            "slow_head" => Answer::bytes(whole).slowly(Duration::from_millis(5)),
            _ if CLOSING.contains(&id) => Answer::bytes(case.bytes.clone()).then_close(),
            _ => Answer::bytes(case.bytes.clone()),
        }
    })
}

fn run(id: &str, expect: &Expect, reuse: &Reuse) -> Result<(), String> {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).pool("response_timeout: 2s").start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("GET /{id} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let response = loop {
        match client.response("GET") {
            Some(interim) if (100..200).contains(&interim.status()) && interim.status() != 101 => {}
            Some(response) => break response,
            None => return Err("the connection was closed without an answer".into()),
        }
    };
    judge(expect, &response, &mut client)?;
    // Whatever happened, the next request gets the answer that is meant for it; also on the same connection, if it is
    // still open.
    let accepted = backend.accepted();
    client.send("GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let same = client.response("GET");
    let next = same.unwrap_or_else(|| RawClient::connect(weir.address()).get("/next"));
    if next.text() != "fine" || !next.start.starts_with("HTTP/1.1 200") {
        return Err(format!("the next request got {next}"));
    }
    match (reuse, backend.accepted() - accepted) {
        (Must, 0) | (Never, 1) | (Any, _) => Ok(()),
        (Must, _) => Err("the backend's connection was not used again".into()),
        (Never, _) => Err("the backend's connection was used again".into()),
    }
}

fn judge(expect: &Expect, response: &Message, client: &mut RawClient) -> Result<(), String> {
    let status = response.status();
    match expect {
        Failed(code) if status == *code && response.complete => Ok(()),
        Failed(code) => Err(format!("answered with {} instead of {code}", response.start)),
        Truncated if status == 502 && response.complete => Ok(()),
        Truncated if status == 200 && !response.complete => match client.read_to_end().1 {
            End::Closed | End::Reset | End::Cut => Ok(()),
            End::Open => Err("the answer is cut off, but the connection stayed open".into()),
        },
        Truncated => Err(format!("answered with {} as if it were whole", response.start)),
        Either(_) if status == 502 && response.complete => Ok(()),
        Passed(check) | Either(check) if check(response) => Ok(()),
        Passed(_) | Either(_) => Err(format!("passed on wrongly: {response}")),
    }
}

#[test]
fn every_answer_leads_to_what_it_must() {
    let mut wrong = Vec::new();
    for (case, (id, expect, reuse)) in cases::read("answers").iter().zip(&TABLE) {
        assert_eq!(case.id, *id, "the table and its judgement are in different order");
        if let Err(sentence) = run(id, expect, reuse) {
            wrong.push(format!("{id}: {sentence}"));
        }
    }
    println!("{} of {} answers handled", TABLE.len() - wrong.len(), TABLE.len());
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}
