//! TLS, at the client's end and at the backend's.
//!
//! ```text
//!  before a snapshot is published          on a connection
//!  Termination ── prepare ──> Slot ──────> accept: handshake (rustls) ──> Session inside the Stream
//!  Origination ── prepare ──> Slot ──────> Client::secure: the same, seen from the other side
//! ```
//!
//! rustls does the handshakes: everything that is agreed on, verified or derived. What is carried afterwards is sealed and
//! opened by `Session` with the keys that came of it, in place and without allocation.

mod client;
mod handshake;
pub(crate) mod hello;
mod identity;
mod inbox;
mod known;
mod outbox;
mod record;
mod scratch;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tickets;
mod trust;

use std::{
    cell::OnceCell,
    sync::{Arc, OnceLock},
    task::Context,
};

use rustls::{
    ClientConfig, SupportedProtocolVersion,
    client::UnbufferedClientConnection,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use weir_model::{
    snapshot::Snapshot,
    time::Moment,
    tls::{Certificate, Identity, Origination, Slot, Termination, Version},
};

use crate::{
    buffer::Buffer,
    error::{Cause, ProxyError},
    io::Stream,
    timer::Timer,
};

pub(crate) use client::{Carries, Client};
pub(crate) use handshake::Failure;
pub(crate) use known::Known;
pub(crate) use server::ServerContext;
pub(crate) use session::Session;
pub use tickets::{TicketKey, Tickets};
pub(crate) use trust::afterthought;

/// What all TLS of a process has in common.
#[derive(Clone, Debug)]
pub struct Common {
    provider: Arc<CryptoProvider>,
    tickets: Arc<Tickets>,
}

impl Common {
    /// With the keys of session tickets that are to be used.
    pub fn new(tickets: Tickets) -> Self {
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        let provider = CryptoProvider {
            // First what a quantum computer does not break: who records now may have one later.
            kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
            ..aws_lc_rs::default_provider()
        };
        Self { provider: Arc::new(provider), tickets: Arc::new(tickets) }
    }

    /// The keys of session tickets.
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }
}

impl Default for Common {
    fn default() -> Self {
        Self::new(Tickets::default())
    }
}

/// Makes whatever workers need of a snapshot before it is published. What was made for the snapshot before it and has
/// not changed stays.
///
/// # Errors
/// What cannot be used and why, in one plain sentence; then the snapshot must not be published.
pub fn prepare(snapshot: &Snapshot, common: &Common) -> Result<(), String> {
    for listener in &snapshot.listeners {
        let Some(termination) = &listener.tls else { continue };
        if context(termination).is_none() {
            let context = ServerContext::new(termination, &common.provider, &common.tickets);
            let context =
                context.map_err(|why| format!("the `tls` of the listener `{}`: {why}", listener.name))?;
            termination.prepared.fill(Arc::new(context));
        }
    }
    let mut system = client::SystemRoots::default();
    for pool in &snapshot.pools {
        let Some(origination) = &pool.tls else { continue };
        if client(origination).is_none() {
            let client = Client::new(origination, &common.provider, &mut system);
            let client = client.map_err(|why| format!("the `tls` of the pool `{}`: {why}", pool.name))?;
            origination.prepared.fill(Arc::new(client));
        }
    }
    Ok(())
}

/// What handshakes of a listener go by, once it has been prepared.
pub(crate) fn context(termination: &Termination) -> Option<Arc<ServerContext>> {
    termination.prepared.get()
}

/// What the handshake with an authority goes by that wants to see this proof; none if the crypto library does not take it.
pub(crate) fn proof_context(proof: &Certificate) -> Option<ServerContext> {
    ServerContext::of_proof(proof).ok()
}

/// How TLS is spoken to the backends of a pool, once it has been prepared.
pub(crate) fn client(origination: &Origination) -> Option<Arc<Client>> {
    origination.prepared.get()
}

/// How TLS is spoken where nothing is known of the other end: whatever it shows will do.
pub(crate) fn anybody() -> Result<Arc<Client>, String> {
    static ANYBODY: OnceLock<Arc<Client>> = OnceLock::new();
    if let Some(client) = ANYBODY.get() {
        return Ok(client.clone());
    }
    let blind = Origination {
        verify: false,
        authorities: None,
        server_name: None,
        identity: None,
        prepared: Slot::default(),
    };
    let provider = Common::default().provider;
    let client = Arc::new(Client::new(&blind, &provider, &mut client::SystemRoots::default())?);
    Ok(ANYBODY.get_or_init(|| client).clone())
}

/// The versions from this one on.
fn versions(least: Version) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match least {
        Version::Tls12 => &ALL,
        Version::Tls13 => &ALL[..1],
    }
}

/// What a handshake found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The protocol that was agreed on by ALPN.
    pub(crate) alpn: Option<Box<[u8]>>,
    /// The name that the client asked for; none on our connections to backends.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) version: Version,
    /// The name of the cipher suite.
    pub(crate) cipher: &'static str,
    /// An earlier session was taken up again.
    pub(crate) resumed: bool,
    /// The verified certificates of the other end as DER, its own first; a client may have none.
    pub(crate) peer: Box<[Box<[u8]>]>,
    /// What the first of them says, once somebody has asked.
    pub(crate) identity: OnceCell<Option<Box<Identity>>>,
}

impl Facts {
    /// Who the other end is, if it has shown a certificate.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        let read = || self.peer.first().and_then(|own| identity::identity(own)).map(Box::new);
        self.identity.get_or_init(read).as_deref()
    }
}

/// The TLS handshake of a client: `early` is what has been read of it already. What comes behind the
/// handshake is read from the stream as if there were no TLS.
///
/// # Errors
/// If there is no session: what the client did wrong, or that it was not done by the deadline. The client has been told.
pub(crate) async fn accept(
    stream: &mut Stream,
    context: &ServerContext,
    early: Buffer,
    timer: &Timer,
    deadline: Moment,
) -> Result<(), ProxyError> {
    timer.set(deadline);
    let is_over = |cx: &Context<'_>| timer.poll_elapsed(cx);
    let handshake = async {
        let conn = context.begin()?;
        handshake::as_server(stream.raw(), conn, early.filled(), is_over).await
    };
    let session = handshake.await.map_err(refused)?;
    stream.secure(session);
    Ok(())
}

/// The TLS handshake with a backend; `is_over` says, and sees to it that it is asked again, when it takes too long.
///
/// # Errors
/// Why there is no session.
pub(crate) async fn connect(
    stream: &mut Stream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    is_over: impl FnMut(&Context<'_>) -> bool,
) -> Result<(), Failure> {
    let conn = UnbufferedClientConnection::new(config, name)?;
    let session = handshake::as_client(stream.raw(), conn, is_over).await?;
    stream.secure(session);
    Ok(())
}

/// Why a client has no session.
fn refused(failure: Failure) -> ProxyError {
    use rustls::{AlertDescription, Error, InvalidMessage};
    let (cause, detail) = match failure {
        Failure::TooLong => (Cause::ClientTimeoutHandshake, String::new()),
        Failure::Closed | Failure::Tls(Error::AlertReceived(AlertDescription::CloseNotify)) => {
            (Cause::ClientAborted, "in the TLS handshake".to_owned())
        }
        Failure::Io(error) => (Cause::ClientAborted, format!("in the TLS handshake: {error}")),
        Failure::Tls(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            (Cause::ClientNotTls, String::new())
        }
        Failure::Tls(Error::AlertReceived(alert)) => {
            (Cause::ClientTlsHandshake, format!("the client sent the alert {alert:?}"))
        }
        Failure::Tls(error) => (Cause::ClientTlsHandshake, error.to_string()),
    };
    ProxyError { cause, detail: detail.into() }
}
