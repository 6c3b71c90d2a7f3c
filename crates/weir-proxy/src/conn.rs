//! The facts of one client connection.

use std::{
    cell::OnceCell,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use weir_model::{
    balance::Flow,
    listener::{Listener, Protocol},
    route::ConnectionFacts,
    status::ListenerCounters,
    time::Millis,
};

use crate::{
    buffer::Buffer,
    clock,
    duplex::Duplex,
    error::{Cause, ProxyError},
    io::Stream,
    listener::{Counted, Entrance, Group},
    proxy_header::{Header, Passed},
    telemetry::is_plain_identity,
    timer::Timer,
    tls::{Known, hello::Hello},
    view::{Held, View},
    worker::{Phase, Worker},
};

/// The longest that is read and thrown away before a connection with something unread is closed.
const MOST_LINGER: Millis = Millis::secs(30);

/// What the line begins with that tells backends the client's address.
pub(crate) const FORWARDED_FOR: &str = "X-Forwarded-For: ";

/// That line.
pub(crate) fn forwarded_for(client: IpAddr) -> String {
    format!("{FORWARDED_FOR}{}\r\n", client.to_canonical())
}

/// What a PROXY header said of a connection, beside where its client is.
#[derive(Debug)]
pub(crate) struct Proxied {
    /// Where the client came to.
    destination: Option<SocketAddr>,
    pub(crate) passed: Passed,
}

/// One client connection. It holds no buffer, and nothing of a snapshot: what it is served by, it asks for anew.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) timer: Timer,
    pub(crate) worker: Rc<Worker>,
    entrance: Rc<Entrance>,
    /// What it said when it began TLS, if it has.
    pub(crate) hello: Option<Box<Hello>>,
    /// What its PROXY header said, if it had one.
    pub(crate) proxied: Option<Box<Proxied>>,
    /// All that share its address, where something came before its protocol.
    group: Option<Rc<Group>>,
    /// Where it is counted.
    counted: Rc<Counted>,
    /// It has been.
    is_counted: bool,
    /// See [`Conn::is_secure`].
    secure: bool,
    /// The line that tells backends the client's address, made when that is first asked for.
    forwarded_for: OnceCell<Box<str>>,
    /// Made when it is first asked for.
    mark: OnceCell<Rc<Mark>>,
}

/// What tells a client connection from all others where backends are told whose a connection is.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// What it is called, made when it is first asked for.
    identity: OnceCell<Box<[u8]>>,
}

impl Conn {
    /// A connection that came in at this address. It is counted at its listener as soon as it is known which that is.
    pub(crate) fn new(worker: Rc<Worker>, group: &Group, stream: Stream, peer: SocketAddr) -> Self {
        let entrance = group.first();
        let (counted, is_counted) = (entrance.counted(), !group.is_shared());
        if is_counted {
            counted.came();
        }
        worker.came();
        let (timer, forwarded_for, mark) = (worker.wheel.timer(), OnceCell::new(), OnceCell::new());
        Self {
            stream,
            peer,
            timer,
            worker,
            entrance,
            group: None,
            hello: None,
            proxied: None,
            counted,
            is_counted,
            secure: false,
            forwarded_for,
            mark,
        }
    }

    /// It belongs to this entrance of the address that it came in at.
    pub(crate) fn settle(&mut self, entrance: Rc<Entrance>, group: Rc<Group>) {
        if !self.is_counted {
            self.counted = entrance.counted();
            self.counted.came();
            self.is_counted = true;
        }
        self.entrance = entrance;
        self.group = Some(group);
    }

    /// True if requests for this host (lower case, without port) belong to another listener of the address. Costs one branch
    /// where clear text is spoken.
    #[inline]
    pub(crate) fn is_misdirected(&self, host: &[u8]) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_shared() && self.is_of_another(group, host))
    }

    #[cold]
    fn is_of_another(&self, group: &Group, host: &[u8]) -> bool {
        // A connection that is to end is served to its end by the listener that it had.
        if self.entrance.is_leaving() {
            return false;
        }
        let host = std::str::from_utf8(host).unwrap_or_default();
        let owner = group.find(Some(host.strip_suffix('.').unwrap_or(host)));
        owner.is_some_and(|owner| !Rc::ptr_eq(&owner, &self.entrance))
    }

    /// What its listener speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.entrance.protocol()
    }

    /// Its listener as it is now.
    pub(crate) fn listener(&self) -> Held {
        self.entrance.listener()
    }

    /// The view that it is served by now, and its listener in there.
    #[inline]
    pub(crate) fn scene(&self) -> (Rc<View>, Held) {
        let view = self.worker.view();
        // After the view: a new one may have made the address a thing of the past.
        let view = self.entrance.last_view().unwrap_or(view);
        (view, self.entrance.listener())
    }

    /// The client's address as text.
    #[inline]
    pub(crate) fn address_text(&self) -> &str {
        let line = self.forwarded_for();
        &line[FORWARDED_FOR.len()..line.len() - 2]
    }

    /// The line that tells backends who the client is.
    #[inline]
    pub(crate) fn forwarded_for(&self) -> &str {
        self.forwarded_for.get_or_init(|| forwarded_for(self.peer.ip()).into())
    }

    /// What marks connections to backends that are for this one alone.
    pub(crate) fn mark(&self) -> &Rc<Mark> {
        self.mark.get_or_init(Rc::default)
    }

    /// A name of its own, for those who ask for one: what its PROXY header calls it, or a new one.
    pub(crate) fn identity(&self) -> &[u8] {
        if let Some(given) = self.given_identity() {
            return given;
        }
        self.mark().identity.get_or_init(|| {
            let mut identity = Vec::new();
            self.worker.identities.put_new(clock::wall_at(clock::micros()), &mut identity);
            identity.into()
        })
    }

    /// What its PROXY header calls it, as far as that can stand in a log.
    pub(crate) fn given_identity(&self) -> Option<&[u8]> {
        let given = self.proxied.as_ref()?.passed.unique_id.as_deref();
        given.filter(|given| is_plain_identity(given))
    }

    /// Its name, if it has one or somebody has asked for one.
    pub(crate) fn known_identity(&self) -> &[u8] {
        if let Some(given) = self.given_identity() {
            return given;
        }
        self.mark.get().and_then(|mark| mark.identity.get()).map_or(b"", |identity| identity)
    }

    /// What routes may ask about it.
    pub(crate) fn facts(&self) -> ConnectionFacts<'_> {
        let tls = self.tls();
        ConnectionFacts {
            source: self.peer.ip().to_canonical(),
            server_name: tls.server_name(),
            alpn: tls.protocols(),
            identity: tls.identity(),
        }
    }

    /// What is known of its TLS.
    #[inline]
    pub(crate) fn tls(&self) -> Known<'_> {
        Known { hello: self.hello.as_deref(), facts: self.stream.facts(), secure: self.secure }
    }

    /// True if its client speaks TLS, which ends here, or where its PROXY header comes from: the scheme is https.
    #[inline]
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// TLS has begun on it.
    pub(crate) const fn has_begun_tls(&mut self) {
        self.secure = true;
    }

    /// Both its ends, as its client has them.
    pub(crate) fn flow(&self) -> Flow {
        let told = self.proxied.as_ref().and_then(|proxied| proxied.destination);
        Flow { source: self.peer, destination: told.or_else(|| self.stream.local_address().ok()) }
    }

    /// Believes a PROXY header: from here on the client is whom it names.
    pub(crate) fn believe(&mut self, header: Header) {
        let destination = header.ends.map(|(source, destination)| {
            self.peer = source;
            destination
        });
        let proxied = Proxied { destination, passed: header.passed };
        self.secure = proxied.passed.secure;
        if destination.is_some() || !proxied.passed.is_empty() {
            self.proxied = Some(Box::new(proxied));
        }
    }

    /// This worker's counters of the listener.
    #[inline]
    pub(crate) fn counters<'l>(&self, listener: &'l Listener) -> &'l ListenerCounters {
        listener.status.shards.of(self.worker.index)
    }

    /// The counters of the listener that it came in by.
    pub(crate) fn own_counters(&self) -> &ListenerCounters {
        self.counted.counters()
    }

    /// Where it is counted.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// How long the listener lets a connection be idle.
    #[inline]
    pub(crate) fn idle_timeout(&self) -> Millis {
        self.entrance.listener().timeouts.idle
    }

    /// Ends our direction, if the client takes what is left to be said.
    pub(crate) async fn finish(&self, length: Millis) {
        _ = self.timer.limit(length, poll_fn(|cx| self.stream.poll_finish(cx))).await;
    }

    /// Ends our direction and reads on until the client has nothing more to send for so long, half a minute at most: closing
    /// with unread bytes would reset the connection, and the client might never see what it was told last (RFC 9112
    /// section 9.6).
    pub(crate) async fn linger(&self, length: Millis) {
        let until = clock::now() + MOST_LINGER;
        self.finish(length).await;
        let mut room = self.worker.spare.buffer();
        while clock::now() < until && self.cut().is_none() {
            self.timer.set_after(length);
            let read = poll_fn(|cx| match self.stream.poll_fill(cx, &mut room) {
                Poll::Pending if self.timer.poll_elapsed(cx) => Poll::Ready(Ok(0)),
                other => other,
            });
            match read.await {
                Ok(0) | Err(_) => return,
                Ok(count) => room.consume(count),
            }
        }
    }

    /// True if the client has sent something that will not be answered: the connection cannot just be closed.
    pub(crate) fn has_more(&self, input: &Buffer) -> bool {
        !input.is_empty() || self.stream.has_unread()
    }

    /// True once it is to carry one more exchange at most: the process is about to stop, or its address is bound no
    /// more. An exchange that began before that learns it here.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.worker.keep_up();
        self.worker.phase.get() >= Phase::Announcing || self.entrance.is_leaving()
    }

    /// True once it is to end as soon as nothing is under way.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.worker.phase.get() >= Phase::Draining || self.entrance.is_over()
    }

    /// Why even what is under way is to end now, once it is: its address has been bound no more for so long, or the process
    /// has waited for as long as it was to.
    #[inline]
    pub(crate) fn cut(&self) -> Option<Cause> {
        if self.entrance.is_over() {
            return Some(Cause::BindClosed);
        }
        (self.worker.phase.get() >= Phase::Stopped).then_some(Cause::ProcessStopped)
    }

    /// Why nobody waits any more for what this client of it wants, if that is so: the client has left, or is cut.
    pub(crate) fn poll_over(&self, client: Duplex<'_>, cx: &mut Context<'_>) -> Option<ProxyError> {
        let gone = client.poll_gone(cx).map(|error| ProxyError::from_client(&error));
        gone.or_else(|| self.cut().map(ProxyError::new))
    }

    /// What comes of this work, which waits with a timer, unless it is cut before.
    pub(crate) async fn unless_cut<T>(
        &self,
        work: impl Future<Output = Result<T, ProxyError>>,
    ) -> Result<T, ProxyError> {
        unless(work, |_| self.cut().map(ProxyError::new)).await
    }

    /// The same, unless this client of it has left before, either.
    pub(crate) async fn unless_over<T>(
        &self,
        client: Duplex<'_>,
        work: impl Future<Output = Result<T, ProxyError>>,
    ) -> Result<T, ProxyError> {
        unless(work, |cx| self.poll_over(client, cx)).await
    }
}

/// What comes of this work, unless it is over while it is waited for.
async fn unless<T>(
    work: impl Future<Output = Result<T, ProxyError>>,
    mut over: impl FnMut(&mut Context<'_>) -> Option<ProxyError>,
) -> Result<T, ProxyError> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Pending => over(cx).map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        ready => ready,
    })
    .await
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.is_counted {
            self.counted.went();
        }
        self.worker.went();
    }
}
