//! Handshakes of both sides: rustls decides what is said, this carries it.

use std::{
    cell::OnceCell,
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use rustls::{
    ProtocolVersion,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus},
};
use tokio::net::TcpStream;
use weir_model::tls::Version;

use super::{
    Facts,
    inbox::Inbox,
    outbox::send_all,
    server,
    session::{Schedule, Session},
};
use crate::io::receive;

/// Tickets that are kept until there is data to send. They are as long as the certificates of the client.
const MOST_WAITING: usize = 4096;

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It took too long.
    TooLong,
    /// The other end closed the connection.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// One of the two ends gave up.
    Tls(rustls::Error),
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// One of the two sides.
trait Side: Sized {
    /// Takes what has come.
    fn process<'c, 'i>(
        conn: &'c mut UnbufferedConnectionCommon<Self>,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self>;

    /// The name that the step before this asked for.
    fn asked() -> Option<Box<str>>;

    /// True if what is said last, when the handshake is over, may go out with the first data: in TLS 1.3 the server has
    /// nothing left to say but tickets, and a write of their own would cost more than they do.
    fn may_wait(version: Option<ProtocolVersion>) -> bool;
}

impl Side for ServerConnectionData {
    fn process<'c, 'i>(
        conn: &'c mut UnbufferedConnectionCommon<Self>,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self> {
        conn.process_tls_records(incoming)
    }

    fn asked() -> Option<Box<str>> {
        server::take_asked()
    }

    fn may_wait(version: Option<ProtocolVersion>) -> bool {
        version == Some(ProtocolVersion::TLSv1_3)
    }
}

impl Side for ClientConnectionData {
    fn process<'c, 'i>(
        conn: &'c mut UnbufferedConnectionCommon<Self>,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self> {
        conn.process_tls_records(incoming)
    }

    fn asked() -> Option<Box<str>> {
        None
    }

    fn may_wait(_: Option<ProtocolVersion>) -> bool {
        false
    }
}

/// The server's side: `early` is what has been read of the client already.
pub(super) async fn as_server(
    tcp: &TcpStream,
    mut conn: UnbufferedServerConnection,
    early: &[u8],
    is_over: impl FnMut(&Context<'_>) -> bool,
) -> Result<Session, Failure> {
    let mut inbox = Inbox::with(early);
    let (server_name, last) = shake(tcp, &mut conn, &mut inbox, is_over).await?;
    let facts = facts(&conn, server_name);
    let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
    let fixed = facts.version == Version::Tls12;
    let schedule = if fixed { Schedule::Fixed } else { Schedule::Server(kernel) };
    Session::new(facts, schedule, (secrets.rx, secrets.tx), (inbox, last)).ok_or(unknown_cipher())
}

/// The client's side.
pub(super) async fn as_client(
    tcp: &TcpStream,
    mut conn: UnbufferedClientConnection,
    is_over: impl FnMut(&Context<'_>) -> bool,
) -> Result<Session, Failure> {
    let mut inbox = Inbox::default();
    let (_, last) = shake(tcp, &mut conn, &mut inbox, is_over).await?;
    let facts = facts(&conn, None);
    let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
    let fixed = facts.version == Version::Tls12;
    let schedule = if fixed { Schedule::Fixed } else { Schedule::Client(kernel) };
    Session::new(facts, schedule, (secrets.rx, secrets.tx), (inbox, last)).ok_or(unknown_cipher())
}

fn unknown_cipher() -> Failure {
    Failure::Tls(rustls::Error::General("a cipher was agreed on that nobody had offered".to_owned()))
}

fn facts<D>(conn: &UnbufferedConnectionCommon<D>, server_name: Option<Box<str>>) -> Facts {
    let version = match conn.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
        _ => Version::Tls12,
    };
    let chain = conn.peer_certificates().unwrap_or(&[]);
    Facts {
        alpn: conn.alpn_protocol().map(Box::from),
        server_name,
        version,
        cipher: conn.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or(""),
        resumed: conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        peer: chain.iter().map(|certificate| Box::from(certificate.as_ref())).collect(),
        identity: OnceCell::new(),
    }
}

/// What to do after a step.
enum Next {
    /// Another step.
    Go,
    /// Say what is to be said, and take another step.
    Say,
    /// Wait for more.
    Wait,
    /// The session is established.
    Done,
}

/// Goes to the end of the handshake; returns the name that was asked for, and what is still to be said before any data. What
/// came behind it is in the inbox then.
async fn shake<D: Side>(
    tcp: &TcpStream,
    conn: &mut UnbufferedConnectionCommon<D>,
    inbox: &mut Inbox,
    mut is_over: impl FnMut(&Context<'_>) -> bool,
) -> Result<(Option<Box<str>>, Vec<u8>), Failure> {
    let (mut out, mut early, mut asked) = (Vec::new(), Vec::new(), None);
    loop {
        let (used, next) = step(conn, inbox.records_mut(), &mut out, &mut early);
        asked = D::asked().or(asked);
        inbox.consume(used);
        match next {
            // What has come behind the handshake is for the session to open.
            Ok(Next::Go | Next::Say) if !conn.is_handshaking() && !conn.wants_write() => {
                if !D::may_wait(conn.protocol_version()) || out.len() > MOST_WAITING {
                    send_all(tcp, &out, &mut is_over).await.ok_or(Failure::TooLong)?.map_err(Failure::Io)?;
                    out.clear();
                }
                inbox.put_content(&early);
                inbox.settle();
                return Ok((asked, out));
            }
            Ok(Next::Go) => {}
            Ok(Next::Say) => {
                send_all(tcp, &out, &mut is_over).await.ok_or(Failure::TooLong)?.map_err(Failure::Io)?;
                out.clear();
            }
            Ok(Next::Wait) => {
                inbox.settle();
                let read = poll_fn(|cx| {
                    loop {
                        match tcp.poll_read_ready(cx) {
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Io(error))),
                            Poll::Pending if is_over(cx) => return Poll::Ready(Err(Failure::TooLong)),
                            Poll::Pending => return Poll::Pending,
                        }
                        let space = inbox.space();
                        if space.is_empty() {
                            let error = rustls::Error::General("a TLS message is too long".to_owned());
                            return Poll::Ready(Err(error.into()));
                        }
                        match receive::<true>(tcp, space) {
                            Some(Ok(0)) => return Poll::Ready(Err(Failure::Closed)),
                            Some(Ok(count)) => {
                                inbox.filled_by(count);
                                return Poll::Ready(Ok(()));
                            }
                            Some(Err(error)) => return Poll::Ready(Err(Failure::Io(error))),
                            None => inbox.settle(),
                        }
                    }
                });
                read.await?;
            }
            Ok(Next::Done) => {
                inbox.put_content(&early);
                inbox.settle();
                return Ok((asked, out));
            }
            Err(error) => {
                // The other end is told why, if it listens. As long as there is something to be said, nothing is read.
                while conn.wants_write() {
                    let (used, said) = step(conn, inbox.records_mut(), &mut out, &mut early);
                    inbox.consume(used);
                    if said.is_err() {
                        break;
                    }
                }
                _ = send_all(tcp, &out, &mut is_over).await;
                return Err(error.into());
            }
        }
    }
}

/// One step: how much of what came was used, and what is to be done next.
fn step<D: Side>(
    conn: &mut UnbufferedConnectionCommon<D>,
    incoming: &mut [u8],
    out: &mut Vec<u8>,
    early: &mut Vec<u8>,
) -> (usize, Result<Next, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = D::process(conn, incoming);
    let next = match state {
        Ok(ConnectionState::EncodeTlsData(mut said)) => {
            let end = out.len();
            let mut size = 0;
            loop {
                out.resize(end + size, 0);
                match said.encode(&mut out[end..]) {
                    Ok(count) => break out.truncate(end + count),
                    Err(EncodeError::InsufficientSize(needed)) => size = needed.required_size,
                    Err(EncodeError::AlreadyEncoded) => break out.truncate(end),
                }
            }
            Ok(Next::Go)
        }
        Ok(ConnectionState::TransmitTlsData(said)) => {
            said.done();
            Ok(Next::Say)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Next::Wait),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Next::Done),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            // The server's side has nothing to say at the end of its handshake if it gives no tickets: then rustls has opened
            // what came behind it.
            let mut failed = None;
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        early.extend_from_slice(record.payload);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(Next::Go), Err)
        }
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
            Err(rustls::Error::AlertReceived(rustls::AlertDescription::CloseNotify))
        }
        Ok(_) => Err(rustls::Error::General("data came before the handshake was complete".to_owned())),
        Err(error) => Err(error),
    };
    (discard, next)
}
