//! Readers as strict as RFC 9112 allows: what they accept, every recipient reads alike.

/// Reads a stream of requests; an error says what could be read in another way. A last one that is cut off is fine: its
/// connection was closed.
pub(crate) fn read_requests(mut rest: &[u8]) -> Result<(), String> {
    while !rest.is_empty() {
        let Some((head, after)) = split_head(rest) else { return Ok(()) };
        rest = match request_framing(&lines(head))? {
            Framing::Unstated => after,
            Framing::Length(length) => after.get(length..).unwrap_or_default(),
            Framing::Chunked => match read_chunks(after)? {
                Some((_, after)) => after,
                None => return Ok(()),
            },
        };
    }
    Ok(())
}

/// Reads the stream that a client got in answer to GETs; the bodies of the final answers that are whole. An error says what
/// could be read in another way, or what looks whole although it is not.
pub(crate) fn read_answers(mut rest: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let Some((head, after)) = split_head(rest) else { return Err("half a head".into()) };
        let lines = lines(head);
        let status = lines[0].strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
        let status: u16 = status.parse().map_err(|_| format!("a bad status line in {lines:?}"))?;
        if !(100..600).contains(&status) || lines[0].contains(control) {
            return Err(format!("a bad status line in {lines:?}"));
        }
        let (framing, _) = fields(&lines[1..])?;
        rest = match framing {
            _ if status == 101 => return Err("a switch that nobody asked for".into()),
            Framing::Chunked if status < 200 || status == 204 => {
                return Err("a body where none may be".into());
            }
            _ if status < 200 => {
                rest = after;
                continue;
            }
            _ if status == 204 || status == 304 => {
                bodies.push(Vec::new());
                after
            }
            Framing::Length(length) => {
                let Some(body) = after.get(..length) else { return Ok(bodies) };
                bodies.push(body.to_vec());
                &after[length..]
            }
            Framing::Chunked => {
                let Some((body, after)) = read_chunks(after)? else { return Ok(bodies) };
                bodies.push(body);
                after
            }
            Framing::Unstated => return Err("an answer to HTTP/1.1 that ends with the connection".into()),
        };
    }
    Ok(bodies)
}

/// A head without its empty line, and what follows it.
fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&bytes[..end], &bytes[end + 4..]))
}

fn token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// How the body of a message is delimited, by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Unstated,
    Length(usize),
    Chunked,
}

/// The lines of a head, without its empty line.
fn lines(head: &[u8]) -> Vec<String> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    text.split("\r\n").map(str::to_owned).collect()
}

/// True for what may stand neither in a field's value nor in a reason.
const fn control(character: char) -> bool {
    (character < ' ' && character != '\t') || character == '\x7f'
}

/// Judges a request line and the fields below it.
fn request_framing(lines: &[String]) -> Result<Framing, String> {
    let start: Vec<_> = lines[0].split(' ').collect();
    let fault = |what: &str| Err(format!("{what} in {lines:?}"));
    let [method, target, "HTTP/1.1"] = start[..] else { return fault("a bad request line") };
    if !token(method.as_bytes())
        || target.is_empty()
        || !target.bytes().all(|byte| (0x21..0x7f).contains(&byte))
    {
        return fault("a bad method or target");
    }
    let (framing, hosts) = fields(&lines[1..])?;
    if hosts == 1 { Ok(framing) } else { fault("not one Host") }
}

/// Judges field lines; how they delimit the body, and how many of them name a host.
fn fields(lines: &[String]) -> Result<(Framing, usize), String> {
    let fault = |what: &str| Err(format!("{what} in {lines:?}"));
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return fault("a line without a colon") };
        if !token(name.as_bytes()) || value.contains(control) {
            return fault("a bad field");
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_owned()),
            _ => {}
        }
    }
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Unstated,
        ([], [coding]) if coding == "chunked" => Framing::Chunked,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Framing::Length(length.parse().map_err(|_| format!("a bad length in {lines:?}"))?)
        }
        _ => return fault("more than one framing"),
    };
    Ok((framing, hosts))
}

/// A body and what follows it.
type Split<'a> = (Vec<u8>, &'a [u8]);

/// A chunked body and what follows it; `None` if it is cut off.
fn read_chunks(mut rest: &[u8]) -> Result<Option<Split<'_>>, String> {
    let mut body = Vec::new();
    let line = |rest: &[u8]| rest.windows(2).position(|window| window == b"\r\n");
    loop {
        let Some(end) = line(rest) else { return Ok(None) };
        let size =
            std::str::from_utf8(&rest[..end]).ok().filter(|size| size.bytes().all(|b| b.is_ascii_hexdigit()));
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return Err(format!("a bad chunk size {:?}", &rest[..end])) };
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let Some(after) = rest.get(size..) else { return Ok(None) };
        if after.len() < 2 {
            return Ok(None);
        }
        if !after.starts_with(b"\r\n") {
            return Err("a chunk that does not end where it says".into());
        }
        body.extend_from_slice(&rest[..size]);
        rest = &after[2..];
    }
    loop {
        let Some(end) = line(rest) else { return Ok(None) };
        let trailer = &rest[..end];
        rest = &rest[end + 2..];
        if trailer.is_empty() {
            return Ok(Some((body, rest)));
        }
        let name = trailer.split(|byte| *byte == b':').next().unwrap_or_default();
        if !token(name) {
            return Err(format!("a bad trailer {trailer:?}"));
        }
    }
}

#[test]
fn the_strict_reader_is_strict() {
    let fine = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nab\r\n0\r\nX: y\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /cut";
    assert_eq!(read_requests(fine.as_bytes()), Ok(()));
    for bad in [
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "abc\r\n\r\n",
    ] {
        assert!(read_requests(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn the_strict_reader_of_answers_is_strict() {
    let fine = "HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
                HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    assert_eq!(read_answers(fine.as_bytes()), Ok(vec![b"ok".to_vec(), b"ab".to_vec()]));
    assert_eq!(read_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), Ok(vec![]));
    for bad in [
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching\r\n\r\n",
    ] {
        assert!(read_answers(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
