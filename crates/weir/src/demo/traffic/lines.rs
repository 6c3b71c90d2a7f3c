//! A client that opens a TCP connection, says a few lines, waits for each to come back, and closes.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::watch,
    time::sleep,
};

use super::{CONNECT_EVERY, Counts, TALKERS, goes_on, pace, patiently};

/// Lines per connection, and the pause behind each.
const LINES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(60);

/// Opens a connection at every tick. One that is open says all its lines, even when nothing new is to be begun:
/// that is what draining is for.
pub(super) async fn client(
    number: u32,
    address: SocketAddr,
    mut stopped: watch::Receiver<bool>,
    counts: Counts,
) {
    let mut pace = pace(number, TALKERS, CONNECT_EVERY).await;
    while goes_on(&mut pace, &mut stopped).await {
        talk(address, &counts).await;
        counts.update(|tally| tally.sessions += 1);
    }
}

async fn talk(address: SocketAddr, counts: &Counts) {
    let mut stream = None;
    for number in 1..=LINES {
        let back = patiently(say(&mut stream, address, number)).await;
        let failed = back.is_err();
        counts.update(|tally| tally.came_back(&back));
        if failed {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn say(open: &mut Option<BufReader<TcpStream>>, address: SocketAddr, number: u32) -> io::Result<()> {
    let stream = match open {
        Some(stream) => stream,
        None => open.insert(BufReader::new(TcpStream::connect(address).await?)),
    };
    let line = format!("line {number}\n");
    stream.write_all(line.as_bytes()).await?;
    let mut back = String::new();
    stream.read_line(&mut back).await?;
    // The backend puts its name in front.
    match back.ends_with(&line) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "a line did not come back as it was sent")),
    }
}
