//! A client that asks for pages over one keep-alive connection, again and again.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::watch,
};
use weir_model::balance::Seed;

use super::{CONNECTIONS, Counts, REQUEST_EVERY, goes_on, pace, patiently};

/// What is asked for: three in five are pages.
const TARGETS: [&str; 5] = ["/", "/shop/42", "/basket", "/api/orders", "/api/users/7"];

/// Asks at every tick, unless the answer to the last question is still to come.
pub(super) async fn client(
    number: u32,
    address: SocketAddr,
    mut stopped: watch::Receiver<bool>,
    counts: Counts,
) {
    let mut seed = Seed::new(u64::from(number));
    let mut connection = None;
    let mut pace = pace(number, CONNECTIONS, REQUEST_EVERY).await;
    while goes_on(&mut pace, &mut stopped).await {
        let target = TARGETS[seed.below(TARGETS.len() as u64) as usize];
        let answer = patiently(ask(&mut connection, address, target)).await;
        if answer.is_err() {
            connection = None;
        }
        counts.update(|tally| tally.answered(answer));
    }
}

/// Sends one request and reads the whole answer. Keeps the connection if the answer allows it.
async fn ask(kept: &mut Option<BufReader<TcpStream>>, address: SocketAddr, target: &str) -> io::Result<u16> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    let request = format!("GET {target} HTTP/1.1\r\nhost: demo.example\r\nuser-agent: weir-demo\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let status = line(&mut stream).await?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| strange("the answer is not HTTP"))?;
    let (mut length, mut closes) = (None, false);
    loop {
        let field = line(&mut stream).await?.to_ascii_lowercase();
        match field.split_once(':').map(|(name, value)| (name, value.trim())) {
            None if field.is_empty() => break,
            Some(("content-length", value)) => length = value.parse().ok(),
            Some(("connection", "close")) => closes = true,
            _ => {}
        }
    }
    // All that the demo's backends and weir itself answer has one.
    let mut body = vec![0; length.ok_or_else(|| strange("the answer has no length"))?];
    stream.read_exact(&mut body).await?;
    if !closes {
        *kept = Some(stream);
    }
    Ok(status)
}

/// The next line, without its end.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer did")),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
