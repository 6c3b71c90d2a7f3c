//! Messages that nobody thought of: the rows of the tables, mutated at random from fixed seeds. Nothing is known of what
//! each must lead to, but this holds for all of them: weir goes on, whatever reaches a backend or a client can be read in
//! one way only, and nobody gets what was meant for another.

use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::{
    cases,
    strict::{read_answers, read_requests},
    support::{Setup, Weir},
};

/// Mutated messages per run.
const COUNT: usize = 8000;

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Pieces that matter to whoever splits a stream into requests.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\xff",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Host: b.test\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b" HTTP/1.1",
    b"ffffffff\r\n",
];

/// Up to four changes to a request: a byte changed, a piece put in, taken out or repeated, two requests joined.
fn mutate(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(12)).min(out.len());
        match random.below(6) {
            0 if at < out.len() => out[at] = random.next() as u8,
            1 => drop(out.splice(at..at, random.one_of(&PIECES).iter().copied())),
            2 => drop(out.drain(at..end)),
            3 => {
                let again = out[at..end].to_vec();
                drop(out.splice(at..at, again));
            }
            4 => {
                // In front of a line, where fields begin.
                let lines: Vec<_> = out.windows(2).enumerate().filter(|(_, w)| w == b"\r\n").collect();
                let line = lines.get(random.below(lines.len())).map_or(0, |(at, _)| at + 2);
                drop(out.splice(line..line, random.one_of(&PIECES).iter().copied()));
            }
            _ => out.extend_from_slice(&others[random.below(others.len())]),
        }
    }
    out
}

/// The preface was left whole, and was answered with the settings of HTTP/2.
fn is_http2(request: &[u8], said: &[u8]) -> bool {
    request.starts_with(b"PRI * HTTP/2.0\r\n") && said.starts_with(&[0, 0]) && said.get(3) == Some(&4)
}

#[test]
fn whatever_reaches_the_backend_can_be_read_in_one_way_only() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let rows: Vec<_> = cases::read("requests")
        .into_iter()
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 2000)
        .collect();
    for seed in 0..COUNT {
        let mut random = Random(seed as u64);
        let request = mutate(&rows[random.below(rows.len())], &rows, &mut random);
        let mut client = RawClient::connect(weir.address());
        client.send(&request).finish();
        let (said, end) = client.read_to_end();
        let shown = || String::from_utf8_lossy(&request).into_owned();
        assert_ne!(end, End::Open, "seed {seed}: no end to {:?}", shown());
        assert!(
            said.is_empty() || said.starts_with(b"HTTP/1.1 ") || is_http2(&request, &said),
            "seed {seed}: {:?} answered to {:?}",
            said,
            shown()
        );
        if seed % 100 == 0 {
            assert_eq!(
                RawClient::connect(weir.address()).get("/still-here").status(),
                200,
                "after seed {seed}"
            );
        }
    }
    wait_until("connections that were cut off have ended", || backend.open() <= 1);
    let streams = backend.streams();
    let wrong: Vec<_> = streams.iter().filter_map(|stream| read_requests(stream).err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} streams: {:#?}",
        wrong.len(),
        streams.len(),
        &wrong[..wrong.len().min(5)]
    );
    let passed = backend.requests().len();
    println!("{passed} requests of {COUNT} mutated ones reached the backend");
    assert!(
        passed > COUNT / 20,
        "only {passed} requests were passed on: the mutations are too wild to show anything"
    );
}

#[test]
fn whatever_a_backend_answers_the_next_answer_is_the_right_one() {
    let rows: Vec<_> =
        cases::read("answers").into_iter().map(|case| case.bytes).filter(|bytes| !bytes.is_empty()).collect();
    let backend = FakeBackend::answering_each(move |request| {
        let (kind, seed) = request.target()[1..].split_once('/').unwrap();
        if kind == "plain" {
            return Answer::ok(&format!("plain {seed}"));
        }
        let mut random = Random(seed.parse().unwrap());
        let answer = Answer::bytes(mutate(&rows[random.below(rows.len())], &rows, &mut random));
        if random.below(2) == 0 { answer.then_close() } else { answer }
    });
    // Some of these answers leave weir waiting for more. The plain ones have all the time that a busy machine needs, in the
    // same pool: they are to meet what the others leave behind on connections.
    let weir = Weir::from_text(&format!(
        "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes: [{{ match: {{ path: /mutated/* }}, timeout: 20ms, pool: app }}]
    pool: app
pools:
  app: {{ backends: [\"{}\"] }}
",
        backend.address()
    ));
    let (mut whole, mut wrong) = (0, Vec::new());
    for seed in 0..COUNT / 4 {
        let mut client = RawClient::connect(weir.address());
        let ask = |kind: &str| format!("GET /{kind}/{seed} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.send(ask("mutated") + &ask("plain")).finish();
        let (said, end) = client.read_to_end();
        let plain = format!("plain {seed}");
        let judged = match read_answers(&said) {
            _ if end == End::Open => Err("no end".to_owned()),
            Ok(answers) if answers.len() > 2 => Err(format!("{} answers to two requests", answers.len())),
            Ok(answers) if answers.len() == 2 && answers[1] != plain.as_bytes() => {
                Err("another's answer".to_owned())
            }
            Ok(answers) => Ok(answers.len() == 2),
            // A body that ends with a reset is known to be cut off, whatever it looks like.
            Err(_) if end == End::Reset => Ok(false),
            Err(fault) => Err(fault),
        };
        match judged {
            Ok(complete) => whole += usize::from(complete),
            Err(fault) => wrong.push(format!("seed {seed}: {fault}: {:?}", String::from_utf8_lossy(&said))),
        }
        let next = RawClient::connect(weir.address()).get(&format!("/plain/{seed}"));
        if next.body != plain.as_bytes() {
            wrong.push(format!("seed {seed}: the next client got {next}"));
        }
    }
    println!("{whole} of {} clients got both answers", COUNT / 4);
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(
        whole > COUNT / 40,
        "only {whole} clients got both answers: the mutations are too wild to show anything"
    );
}
