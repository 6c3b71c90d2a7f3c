//! Clients that misuse HTTP/2, frame by frame: each is answered as RFC 9113 says, or told to calm down; nothing of it reaches a
//! backend that should not, and others are served meanwhile.

use std::thread;

use weir_testkit::{
    End, FakeBackend, RawClient,
    frames::{Frame, Framed, PREFACE, flag, kind, literals},
    wait_until,
};

use crate::support::{Setup, Weir, journal};

type Field<'f> = (&'f [u8], &'f [u8]);

const GET: [Field<'static>; 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/attack")];
const POST: [Field<'static>; 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/attack")];

/// Codes of RFC 9113 section 7.
mod code {
    pub(super) const PROTOCOL_ERROR: u32 = 1;
    pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(super) const STREAM_CLOSED: u32 = 5;
    pub(super) const FRAME_SIZE_ERROR: u32 = 6;
    pub(super) const REFUSED_STREAM: u32 = 7;
    pub(super) const COMPRESSION_ERROR: u32 = 9;
    pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// How weir ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The connection, with this code.
    GoAway(u32),
    /// The stream, with this code.
    Reset(u32),
    /// An answer with this status.
    Status(u16),
    /// The connection, without a word.
    Closed,
}

/// The status of an answer, from its head: 0 is one that has no number of its own in the table of HPACK.
fn status(frame: &Frame) -> Option<u16> {
    if frame.kind != kind::HEADERS {
        return None;
    }
    // A change of the size of the table may come first.
    let block: Vec<u8> = frame.payload.iter().copied().skip_while(|byte| byte & 0xe0 == 0x20).collect();
    match *block.first()? {
        index @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)]),
        // Any other is written in a way that is not worth reading here.
        _ => Some(0),
    }
}

/// The first thing that says what became of it.
fn verdict(client: &mut Framed) -> Verdict {
    while let Some(frame) = client.receive() {
        match (frame.kind, frame.code(), status(&frame)) {
            (kind::GOAWAY, Some(0), _) => {}
            (kind::GOAWAY, Some(code), _) => return Verdict::GoAway(code),
            (kind::RST_STREAM, Some(code), _) => return Verdict::Reset(code),
            (_, _, Some(status)) => return Verdict::Status(status),
            _ => {}
        }
    }
    Verdict::Closed
}

fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

fn head(stream: u32, last: bool, fields: &[Field<'_>]) -> Vec<u8> {
    let flags = flag::END_HEADERS | if last { flag::END_STREAM } else { 0 };
    frame(kind::HEADERS, flags, stream, literals(fields.iter().copied()))
}

fn with<'f>(fields: &[Field<'f>], more: &[Field<'f>]) -> Vec<Field<'f>> {
    [fields, more].concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn backend() -> FakeBackend {
    FakeBackend::echo()
}

fn attacks(backend: &FakeBackend) -> usize {
    backend.requests().iter().filter(|request| request.target().starts_with("/attack")).count()
}

/// Sends what an attack sends on a connection of its own, and waits for the end.
fn attacked(weir: &Weir, bytes: &[u8]) -> Verdict {
    let mut client = Framed::connect(weir.address());
    client.send_bytes(bytes);
    verdict(&mut client)
}

#[test]
fn what_breaks_a_rule_is_answered_as_the_rule_says() {
    use Verdict::{GoAway, Reset};
    use code::{COMPRESSION_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED};
    let held: Vec<u8> = head(1, false, &POST);
    let size = &[GoAway(FRAME_SIZE_ERROR)];
    let compression = &[GoAway(COMPRESSION_ERROR)];
    let after = |bytes: Vec<u8>| [held.clone(), bytes].concat();
    let block =
        |stream, block: &[u8]| frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, block);
    let rows: Vec<(&str, Vec<u8>, &[Verdict])> = vec![
        ("empty_headers", block(1, b""), &[Reset(PROTOCOL_ERROR), GoAway(PROTOCOL_ERROR)]),
        (
            "wu_overflow",
            frame(kind::WINDOW_UPDATE, 0, 0, 0x7fff_ffff_u32.to_be_bytes()),
            &[GoAway(FLOW_CONTROL_ERROR)],
        ),
        ("wu_zero", frame(kind::WINDOW_UPDATE, 0, 0, [0; 4]), &[GoAway(PROTOCOL_ERROR)]),
        ("hpack_bad_index", block(1, &[0xff, 0xff, 0x7f]), compression),
        ("hpack_index_zero", block(1, &[0x82, 0x80]), compression),
        ("hpack_empty_table", block(1, &[0x82, 0xbe]), compression),
        ("table_too_big", block(1, &[0x3f, 0xe2, 0xff, 0x03, 0x82]), compression),
        ("even_id", head(2, true, &GET), &[GoAway(PROTOCOL_ERROR)]),
        (
            "id_decrease",
            [head(5, false, &POST), head(3, true, &GET)].concat(),
            &[GoAway(PROTOCOL_ERROR), GoAway(STREAM_CLOSED), Reset(STREAM_CLOSED)],
        ),
        (
            "push_from_client",
            after(frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2])),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        ("frame_20k", after(frame(kind::DATA, 0, 1, vec![0; 20_000])), &[GoAway(FRAME_SIZE_ERROR)]),
        ("settings_len", frame(kind::SETTINGS, 0, 0, [0; 5]), size),
        ("initwin_big", frame(kind::SETTINGS, 0, 0, setting(4, 0x8000_0000)), &[GoAway(FLOW_CONTROL_ERROR)]),
        ("data_on_idle", frame(kind::DATA, 0, 1, *b"x"), &[GoAway(PROTOCOL_ERROR)]),
        ("continuation_alone", frame(kind::CONTINUATION, 0, 1, []), &[GoAway(PROTOCOL_ERROR)]),
        ("settings_on_stream", frame(kind::SETTINGS, 0, 1, []), &[GoAway(PROTOCOL_ERROR)]),
        ("ping_len", frame(kind::PING, 0, 0, [0; 7]), size),
    ];
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).start();
    for (name, bytes, allowed) in rows {
        let verdict = attacked(&weir, &bytes);
        assert!(allowed.contains(&verdict), "{name}: {verdict:?}");
    }
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
}

#[test]
fn a_request_that_could_be_read_in_two_ways_reaches_nobody() {
    let malformed: Vec<(&str, Vec<Field<'_>>)> = vec![
        ("te_chunked", with(&POST, &[(b"transfer-encoding", b"chunked")])),
        ("connection", with(&GET, &[(b"connection", b"close")])),
        ("te_other", with(&GET, &[(b"te", b"gzip")])),
        ("crlf_value", with(&GET, &[(b"x-a", b"1\r\nx-b: 2")])),
        ("nul_value", with(&GET, &[(b"x-a", b"1\x002")])),
        ("colon_name", with(&GET, &[(b"x:a", b"1")])),
        ("upper_name", with(&GET, &[(b"X-A", b"1")])),
        ("empty_name", with(&GET, &[(b"", b"1")])),
        ("value_ws", with(&GET, &[(b"x-a", b" 1")])),
        ("value_ws_end", with(&GET, &[(b"x-a", b"1\t")])),
        ("path_crlf", with(&GET[..3], &[(b":path", b"/attack\r\nx: y")])),
        ("path_space", with(&GET[..3], &[(b":path", b"/attack /b")])),
        ("path_empty", with(&GET[..3], &[(b":path", b"")])),
        ("method_space", with(&GET[1..], &[(b":method", b"GET /attack")])),
        ("authority_vs_host", with(&GET, &[(b"host", b"b.test")])),
        ("two_paths", with(&GET, &[(b":path", b"/attack")])),
        ("no_path", GET[..3].to_vec()),
        ("no_method", GET[1..].to_vec()),
        ("pseudo_last", with(&GET[..3], &[(b"x-a", b"1"), (b":path", b"/attack")])),
        ("pseudo_unknown", with(&GET, &[(b":x", b"1")])),
        ("status", with(&GET, &[(b":status", b"200")])),
        ("connect_path", with(&GET[1..], &[(b":method", b"CONNECT")])),
        ("two_lengths", with(&POST, &[(b"content-length", b"1"), (b"content-length", b"2")])),
        ("length_junk", with(&POST, &[(b"content-length", b"+1")])),
    ];
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).start();
    for (name, fields) in malformed {
        let verdict = attacked(&weir, &head(1, true, &fields));
        let refused = match verdict {
            Verdict::Reset(code) | Verdict::GoAway(code) => {
                matches!(code, code::PROTOCOL_ERROR | code::COMPRESSION_ERROR)
            }
            Verdict::Status(status) => (400..500).contains(&status) || status == 0,
            Verdict::Closed => false,
        };
        assert!(refused, "{name}: {verdict:?}");
        assert_eq!(attacks(&backend), 0, "{name}");
    }
}

#[test]
fn a_length_that_is_not_kept_never_looks_complete() {
    let length = |length| with(&POST, &[(b"content-length", length)]);
    let data = |flags, text: &[u8]| frame(kind::DATA, flags, 1, text);
    for (name, bytes) in [
        ("too much", [head(1, false, &length(b"3")), data(flag::END_STREAM, b"12345")].concat()),
        ("too little", [head(1, false, &length(b"5")), data(flag::END_STREAM, b"123")].concat()),
        ("nothing", head(1, true, &length(b"5"))),
    ] {
        let backend = backend();
        let weir = Setup::http(&[backend.address()]).start();
        let verdict = attacked(&weir, &bytes);
        assert!(
            matches!(verdict, Verdict::Reset(code::PROTOCOL_ERROR) | Verdict::Status(400)),
            "{name}: {verdict:?}"
        );
        assert!(backend.requests().iter().all(|request| !request.complete), "{name}");
    }
}

#[test]
fn what_nobody_knows_is_passed_over() {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).start();
    let unknown = [frame(0xee, 0xff, 0, *b"anything"), frame(0xee, 0, 1, []), head(1, true, &GET)].concat();
    assert_eq!(attacked(&weir, &unknown), Verdict::Status(200));
    let unknown = [frame(kind::SETTINGS, 0, 0, setting(0xbeef, 1)), head(1, true, &GET)].concat();
    assert_eq!(attacked(&weir, &unknown), Verdict::Status(200));
}

#[test]
fn requests_beyond_the_limit_are_refused_and_the_rest_is_served() {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).listener("limits: { streams: 10 }").start();
    let mut client = Framed::connect(weir.address());
    // None of them is over before all are there.
    let heads: Vec<u8> = (0..100).flat_map(|number| head(2 * number + 1, false, &POST)).collect();
    client.send_bytes(&heads);
    let mut refused = 0;
    while refused < 90 {
        let frame = client.receive().expect("the connection has ended");
        if frame.kind == kind::RST_STREAM {
            assert_eq!(frame.code(), Some(code::REFUSED_STREAM));
            refused += 1;
        }
    }
    for number in 0..10 {
        client.send(&Frame::new(kind::DATA, flag::END_STREAM, 2 * number + 1, []));
    }
    for _ in 0..10 {
        let answer = client.until(|frame| frame.kind == kind::HEADERS).expect("the connection has ended");
        assert_eq!(status(&answer), Some(200));
    }
}

/// A flood: what it is called, what it begins with, and what is sent again and again.
type Flood = (&'static str, Vec<u8>, fn(u32) -> Vec<u8>, u32);

fn floods() -> Vec<Flood> {
    let open = head(1, false, &POST);
    let half = frame(kind::HEADERS, flag::END_STREAM, 1, literals(GET));
    vec![
        (
            "rapid_reset",
            Vec::new(),
            |n| {
                let stream = 2 * n + 1;
                [head(stream, true, &GET), frame(kind::RST_STREAM, 0, stream, [0, 0, 0, 8])].concat()
            },
            20_000,
        ),
        (
            "made_you_reset",
            Vec::new(),
            |n| {
                let stream = 2 * n + 1;
                // A window that is too large is an error of the stream.
                let window = 0x7fff_ffff_u32.to_be_bytes();
                [head(stream, true, &GET), frame(kind::WINDOW_UPDATE, 0, stream, window)].concat()
            },
            20_000,
        ),
        ("continuation_empty", half.clone(), |_| frame(kind::CONTINUATION, 0, 1, []), 200_000),
        (
            "continuation_data",
            half,
            |_| frame(kind::CONTINUATION, 0, 1, literals([(&b"x-filler"[..], &[b'x'; 100][..])])),
            10_000,
        ),
        ("ping", Vec::new(), |_| frame(kind::PING, 0, 0, [0; 8]), 200_000),
        ("settings", Vec::new(), |_| frame(kind::SETTINGS, 0, 0, []), 100_000),
        ("empty_data", open.clone(), |_| frame(kind::DATA, 0, 1, []), 200_000),
        ("priority", Vec::new(), |_| frame(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 1]), 200_000),
        ("window_update", open, |_| frame(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]), 100_000),
        ("unknown", Vec::new(), |_| frame(0xee, 0, 0, []), 200_000),
    ]
}

#[test]
fn floods_are_ended_and_others_are_served_meanwhile() {
    for (name, first, next, count) in floods() {
        let backend = backend();
        let (sink, said) = journal();
        let text = format!(
            "workers: 1\nlisteners:\n  web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }}\n\
             pools:\n  app: {{ backends: ['{}'] }}\n",
            backend.address()
        );
        let weir = Weir::with_log(&text, sink);
        let mut client = Framed::connect(weir.address());
        let mut reader = client.split();
        let reading = thread::spawn(move || {
            let gone = reader.until(|frame| frame.kind == kind::GOAWAY && frame.code() != Some(0));
            gone.and_then(|frame| frame.code())
        });
        client.send_bytes(&first);
        let mut served = 0;
        for batch in 0..count / 100 {
            let bytes: Vec<u8> = (0..100).flat_map(|index| next(batch * 100 + index)).collect();
            if !client.send_bytes(&bytes) {
                break;
            }
            if batch % 50 == 0 && RawClient::connect(weir.address()).get("/").status() == 200 {
                served += 1;
            }
        }
        let told = reading.join().unwrap();
        // A head that grows may be too large before it has too many pieces: that is an error like others.
        let (codes, cause) = match name {
            "continuation_data" => {
                (&[code::ENHANCE_YOUR_CALM, code::PROTOCOL_ERROR][..], "cause=client_http2")
            }
            _ => (&[code::ENHANCE_YOUR_CALM][..], "cause=client_http2_flood"),
        };
        assert!(told.is_some_and(|code| codes.contains(&code)), "{name}: {told:?}");
        assert!(served > 0, "{name}");
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200, "{name}");
        wait_until(&format!("{name} is said"), || said().contains(cause));
        let snapshot = weir.app().snapshot();
        let shards = &snapshot.listeners[0].status.shards;
        assert!(shards.iter().map(|shard| shard.rejected.total()).sum::<u64>() > 0, "{name}");
    }
}

#[test]
fn who_has_a_reason_for_many_frames_may_send_them() {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = Framed::connect(weir.address());
    // A page is left, again and again: all of its requests are taken back at once.
    for page in 0..2 {
        let streams = (page * 100..page * 100 + 100).map(|number| 2 * number + 1);
        let heads = streams.clone().flat_map(|stream| head(stream, true, &GET));
        let resets = streams.flat_map(|stream| frame(kind::RST_STREAM, 0, stream, [0, 0, 0, 8]));
        let both: Vec<u8> = heads.chain(resets).collect();
        assert!(client.send_bytes(&both));
    }
    // Each answer is taken with two windows and a ping.
    for number in 1000..3000 {
        let stream = 2 * number + 1;
        assert!(client.send_bytes(&head(stream, true, &GET)));
        let answered = client.until(|frame| frame.stream == stream && frame.has(flag::END_STREAM));
        assert!(answered.is_some(), "the connection has ended at stream {stream}");
        let window = frame(kind::WINDOW_UPDATE, 0, 0, 100_u32.to_be_bytes());
        assert!(client.send_bytes(&[&window[..], &window, &frame(kind::PING, 0, 0, [1; 8])].concat()));
    }
}

#[test]
fn what_is_small_packed_and_large_unpacked_is_refused_by_what_it_is() {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).start();
    // An entry of almost 4 KiB, which is then named again and again by a byte.
    let mut block = literals(GET);
    block.push(0x40);
    let filler = literals([(&b"x-bomb"[..], &[b'x'; 3900][..])]);
    block.extend_from_slice(&filler[1..]);
    block.extend(std::iter::repeat_n(0xbe, 8000));
    let mut client = Framed::connect(weir.address());
    client.send_bytes(&frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, block));
    let verdict = verdict(&mut client);
    assert!(
        matches!(verdict, Verdict::Status(0 | 431) | Verdict::Reset(_) | Verdict::GoAway(_)),
        "{verdict:?}"
    );
    assert_eq!(attacks(&backend), 0);
    // The same with many small ones.
    let crumbs: Vec<Field<'_>> = (0..4000).map(|_| (&b"cookie"[..], &b"a=1"[..])).collect();
    let fields = with(&GET, &crumbs);
    let block = literals(fields);
    let mut parts = block.chunks(16_384).peekable();
    let mut bytes = frame(kind::HEADERS, flag::END_STREAM, 1, parts.next().unwrap());
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
        bytes.extend(frame(kind::CONTINUATION, flags, 1, part));
    }
    let verdict = attacked(&weir, &bytes);
    assert!(
        matches!(verdict, Verdict::Status(0 | 431) | Verdict::Reset(_) | Verdict::GoAway(_)),
        "{verdict:?}"
    );
    assert_eq!(attacks(&backend), 0);
}

#[test]
fn who_says_nothing_or_half_of_it_is_closed() {
    let backend = backend();
    let setup = || {
        Setup::http(&[backend.address()])
            .listener("timeouts: { header: 300ms, idle: 300ms, send_idle: 300ms }")
    };
    let weir = setup().start();
    let mut half = RawClient::connect(weir.address());
    half.send(&PREFACE[..10]);
    assert!(half.read_to_end().1 != End::Open);
    // The preface, and nothing behind it.
    let mut idle = Framed::connect(weir.address());
    while idle.receive().is_some() {}
    // A head that never ends.
    let mut slow = Framed::connect(weir.address());
    slow.send(&Frame::new(kind::HEADERS, 0, 1, literals(GET)));
    assert!(matches!(verdict(&mut slow), Verdict::GoAway(_) | Verdict::Closed));
    // A window of nothing: what is to be sent waits for so long, and no longer.
    let mut closed = Framed::silent(weir.address());
    closed.send_bytes(PREFACE);
    closed.send(&Frame::new(kind::SETTINGS, 0, 0, setting(4, 0)));
    closed.get(1, "/");
    assert!(matches!(verdict(&mut closed), Verdict::Status(200)));
    let end = closed.until(|frame| matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY));
    assert!(end.is_some());
}
