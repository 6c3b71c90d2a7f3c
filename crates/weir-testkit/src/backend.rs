//! A backend that answers as it is told and logs every byte that it receives.

mod answer;
mod connection;
mod refusing;

pub use answer::Answer;
pub use connection::Connection;
pub use refusing::{BlackHole, Refusing};

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{Message, TlsFacts, TlsServer};

/// Listens on a port of its own from its creation until it is dropped.
#[derive(Debug)]
pub struct FakeBackend {
    address: SocketAddr,
    log: Arc<Log>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What arrived, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Log {
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// The bytes of each connection.
    bytes: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    requests: Mutex<Vec<Message>>,
    handshakes: Mutex<Vec<TlsFacts>>,
}

impl FakeBackend {
    /// Answers every request with 200 and a body that repeats the request as it arrived; keeps connections open.
    pub fn echo() -> Self {
        Self::answering(Answer::echo())
    }

    /// Answers every request alike.
    pub fn answering(answer: Answer) -> Self {
        Self::answering_each(move |_| answer.clone())
    }

    /// Answers each request, once it has arrived whole, as the function says.
    pub fn answering_each(answer: impl Fn(&Message) -> Answer + Send + Sync + 'static) -> Self {
        Self::custom(move |mut connection| {
            while let Some(request) = connection.read_request() {
                let answer = answer(&request);
                match answer.give(connection, &request) {
                    Some(open) => connection = open,
                    None => return,
                }
            }
        })
    }

    /// Speaks TLS and answers every request alike.
    pub fn tls(tls: &TlsServer, answer: Answer) -> Self {
        Self::tls_custom(tls, move |mut connection| {
            while let Some(request) = connection.read_request() {
                match answer.clone().give(connection, &request) {
                    Some(open) => connection = open,
                    None => return,
                }
            }
        })
    }

    /// Speaks TLS and runs a function with each connection once both have shaken hands.
    pub fn tls_custom(tls: &TlsServer, serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let tls = tls.clone();
        Self::custom(move |connection| {
            let mut connection = connection.with_tls(&tls);
            if let Some(facts) = connection.tls() {
                connection.log_handshake(facts);
                serve(connection);
            }
        })
    }

    /// Runs a function with each connection, on a thread of its own.
    pub fn custom(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        Self::custom_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve)
    }

    /// As [`FakeBackend::custom`], at an address that an earlier one has left.
    ///
    /// # Panics
    /// If the address cannot be bound.
    #[track_caller]
    pub fn custom_at(address: SocketAddr, serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address);
        let listener = listener.unwrap_or_else(|error| panic!("{address} cannot be bound: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no local address: {error}"));
        let (log, stopped) = (Arc::new(Log::default()), Arc::new(AtomicBool::new(false)));
        let acceptor = {
            let (log, stopped) = (Arc::clone(&log), Arc::clone(&stopped));
            thread::spawn(move || accept(&listener, &log, &stopped, &Arc::new(serve)))
        };
        Self { address, log, stopped, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.log.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are served now.
    pub fn open(&self) -> usize {
        self.log.open.load(Ordering::SeqCst)
    }

    /// Every byte that arrived, connection after connection.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.log.bytes).iter().flat_map(|bytes| lock(bytes).clone()).collect()
    }

    /// The bytes of each connection.
    pub fn streams(&self) -> Vec<Vec<u8>> {
        lock(&self.log.bytes).iter().map(|bytes| lock(bytes).clone()).collect()
    }

    /// How many bytes arrived.
    pub fn byte_count(&self) -> usize {
        lock(&self.log.bytes).iter().map(|bytes| lock(bytes).len()).sum()
    }

    /// Every request that arrived whole or was cut short, in order of arrival.
    pub fn requests(&self) -> Vec<Message> {
        lock(&self.log.requests).clone()
    }

    /// The only request that arrived.
    ///
    /// # Panics
    /// If there were none or several.
    #[track_caller]
    pub fn only_request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// What each connection with TLS learned of its client, in the order of the handshakes that succeeded.
    pub fn handshakes(&self) -> Vec<TlsFacts> {
        lock(&self.log.handshakes).clone()
    }

    /// Forgets what has arrived so far. Connections that are open stay open and are logged on.
    pub fn forget(&self) {
        lock(&self.log.requests).clear();
        lock(&self.log.bytes).iter().for_each(|bytes| lock(bytes).clear());
    }
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            // A panic over there has been printed already.
            let _ = acceptor.join();
        }
    }
}

fn accept<F>(listener: &TcpListener, log: &Arc<Log>, stopped: &Arc<AtomicBool>, serve: &Arc<F>)
where
    F: Fn(Connection) + Send + Sync + 'static,
{
    while let Ok((stream, peer)) = listener.accept() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = Connection::new(stream, peer, Arc::clone(log), Arc::clone(stopped)) else {
            continue;
        };
        let serve = Arc::clone(serve);
        thread::spawn(move || serve(connection));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
