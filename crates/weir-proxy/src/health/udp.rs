//! A UDP probe: one datagram from a port of its own, and what comes back of it.
//!
//! The socket is connected, so that the kernel takes datagrams from the backend only, and tells of ICMP errors.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::Interest, net::UdpSocket, time::timeout};
use weir_model::{health::UdpProbe, time::Millis};

/// Bytes of an answer; a datagram holds no more.
const MOST: usize = 65_536;

/// Asks and judges. Without an expectation the silence of `patience` is an answer as well: nobody said that the port is
/// closed.
pub(super) async fn ask(
    address: SocketAddr,
    question: &UdpProbe,
    patience: Millis,
) -> Result<String, String> {
    let asked = async {
        let socket = connect(address).await.map_err(|error| failed(&error))?;
        socket.send(&question.send).await.map_err(|error| failed(&error))?;
        let answer = receive(&socket).await.map_err(|error| failed(&error))?;
        judge(&answer, question.expect.as_deref())
    };
    match (timeout(patience.duration(), asked).await, &question.expect) {
        (Ok(outcome), _) => outcome,
        (Err(_), None) => Ok(format!("was not refused within {patience}")),
        (Err(_), Some(_)) => Err(format!("no answer within {patience}")),
    }
}

async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// The next datagram, or the error that came in its place. Room for it is taken up only when it has come: thousands of probes may wait at once.
async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    loop {
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if let Some(error) = ready.is_error().then(|| socket.take_error()).transpose()?.flatten() {
            return Err(error);
        }
        if !ready.is_readable() {
            // An error that somebody else has taken: wait for the next one.
            let _: io::Result<()> = socket.try_io(Interest::ERROR, || Err(io::ErrorKind::WouldBlock.into()));
            continue;
        }
        let mut room = vec![0u8; MOST];
        match socket.try_recv(&mut room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(length) => {
                room.truncate(length);
                return Ok(room);
            }
        }
    }
}

fn judge(answer: &[u8], expect: Option<&[u8]>) -> Result<String, String> {
    const SHOWN: usize = 40;
    match expect {
        Some(expect) if memchr::memmem::find(answer, expect).is_none() => {
            let start = answer[..answer.len().min(SHOWN)].escape_ascii();
            let more = if answer.len() > SHOWN { "…" } else { "" };
            Err(format!("answered `{start}{more}`, which does not hold `{}`", expect.escape_ascii()))
        }
        _ => Ok(format!("answered with {} bytes", answer.len())),
    }
}

fn failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the port is closed (ICMP port unreachable)".into(),
        _ => super::not_connected(error),
    }
}
