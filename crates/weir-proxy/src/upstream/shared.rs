//! What one worker has of HTTP/2 connections to the backends of a pool: found for each request, made when there is none with
//! room, by one for all who wait, and let go of when they are old, idle, or no longer wanted.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use weir_model::{
    pool::{Keepalive, Pool},
    time::Moment,
};

use super::{
    Errand, Introduction, Upstream, connect,
    trunk::{Asked, Boarding, Lane, MOST_LANES, Trunk},
};
use crate::{
    clock,
    conn::Mark,
    error::{Cause, ProxyError},
    timer::Timer,
    tls::Carries,
    worker::Worker,
};

/// How often a request looks for room again that others took before it.
const MOST_ROUNDS: usize = 8;

/// What a backend was last found to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speaks {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// HTTP/1.1, although HTTP/2 was offered.
    Http1,
    /// HTTP/2.
    H2,
}

/// The trunks of one worker to the backends of a pool.
#[derive(Debug)]
pub(crate) struct Shared {
    places: RefCell<Vec<Rc<Place>>>,
}

/// Those to one backend, and what is being connected. It goes from one state of the pool to the next.
#[derive(Debug, Default)]
struct Place {
    trunks: RefCell<Vec<Rc<Trunk>>>,
    flights: RefCell<Vec<Rc<Flight>>>,
    speaks: Cell<Speaks>,
    /// How many requests the last trunk could take at once; 0 if there was none.
    last_most: Cell<usize>,
    /// Nothing is kept here any more.
    closed: Cell<bool>,
}

/// For whom a trunk is looked for, and what for.
pub(crate) struct Passenger<'p> {
    pub(crate) worker: &'p Rc<Worker>,
    pub(crate) timer: &'p Timer,
    pub(crate) pool: &'p Arc<Pool>,
    pub(crate) backend: usize,
    pub(crate) carries: Carries,
    /// The client connection that trunks have to belong to, if the backend is told whose they are.
    pub(crate) owner: Option<Rc<Mark>>,
    pub(crate) until: Moment,
}

/// How a request gets to its backend.
pub(crate) enum Boarded {
    /// It is on its way.
    Lane(Box<Lane>),
    /// The backend speaks HTTP/1.1: this connection is for it alone.
    Own(Upstream),
}

impl Shared {
    pub(crate) fn new(pool: &Pool) -> Self {
        Self { places: RefCell::new(pool.backends.iter().map(|_| Rc::default()).collect()) }
    }

    /// Takes over what there is to backends that are still there: `places` says where each of them stands now.
    pub(crate) fn inherit(&self, before: &Self, places: &[Option<usize>]) {
        let mut own = self.places.borrow_mut();
        for (old, place) in before.places.borrow_mut().iter_mut().zip(places) {
            if let Some(place) = *place {
                let left = Place { closed: Cell::new(true), ..Place::default() };
                own[place] = std::mem::replace(old, Rc::new(left));
            }
        }
    }

    /// Lets everything go as soon as nothing is under way on it, and keeps nothing from now on.
    pub(crate) fn retire(&self) {
        for place in &*self.places.borrow() {
            place.closed.set(true);
            place.trunks.borrow_mut().drain(..).for_each(|trunk| trunk.retire());
        }
    }

    /// Lets go of what is worn, and of all that leads to backends that take no traffic.
    pub(crate) fn sweep(&self, pool: &Pool) {
        for (place, backend) in self.places.borrow().iter().zip(&pool.backends) {
            let stays = backend.is_eligible();
            place.trunks.borrow_mut().retain(|trunk| {
                let unwanted = trunk.is_idle() && pool.keepalive.max_idle == 0;
                if !stays || unwanted || trunk.is_orphaned() || trunk.is_worn(&pool.keepalive, clock::now()) {
                    trunk.retire();
                }
                !trunk.is_retired()
            });
        }
    }

    /// True if the backend is known to speak HTTP/1.1 although HTTP/2 was offered to it.
    pub(crate) fn is_http1(&self, backend: usize) -> bool {
        self.places.borrow()[backend].speaks.get() == Speaks::Http1
    }

    /// Sends a request to a backend: over a trunk that has room, or one that is made for it. `ask` says what is sent, and
    /// whether that can be done on the trunk.
    ///
    /// # Errors
    /// If no connection could be made in time, or the request cannot be said in HTTP/2; nothing has been sent then.
    pub(crate) async fn board(
        &self,
        passenger: &Passenger<'_>,
        mut introduction: impl FnMut() -> Option<Introduction>,
        mut ask: impl FnMut(&Trunk) -> Result<Asked, ProxyError>,
    ) -> Result<Boarded, ProxyError> {
        let place = self.places.borrow()[passenger.backend].clone();
        for _ in 0..MOST_ROUNDS {
            while let Some(trunk) = place.find(passenger.owner.as_ref(), &passenger.pool.keepalive) {
                match trunk.board(ask(&trunk)?) {
                    Boarding::Taken(lane) => {
                        if place.closed.get() {
                            trunk.retire();
                        }
                        return Ok(Boarded::Lane(lane));
                    }
                    Boarding::Full => {}
                    Boarding::Refused(error) => return Err(error),
                }
            }
            let flight = place.join(passenger.owner.as_ref()).unwrap_or_else(|| {
                let flight = Rc::new(Flight { owner: passenger.owner.clone(), ..Flight::default() });
                place.flights.borrow_mut().push(flight.clone());
                let made = make(
                    passenger.worker.clone(),
                    place.clone(),
                    flight.clone(),
                    (passenger.pool.clone(), passenger.backend),
                    (passenger.carries, introduction()),
                );
                drop(tokio::task::spawn_local(made));
                flight
            });
            flight.waiting.set(flight.waiting.get() + 1);
            passenger.timer.set(passenger.until);
            let landed = poll_fn(|cx| match flight.poll_landed(cx) {
                Poll::Pending if passenger.timer.poll_elapsed(cx) => {
                    Poll::Ready(Err(Cause::BackendConnectTimeout.into()))
                }
                landed => landed,
            });
            if let Some(upstream) = landed.await? {
                return Ok(Boarded::Own(upstream));
            }
        }
        Err(ProxyError::with(
            Cause::BackendConnectFailed,
            "others took every HTTP/2 connection that was made",
        ))
    }
}

impl Place {
    /// A trunk with room for a request of this client connection.
    fn find(&self, owner: Option<&Rc<Mark>>, keepalive: &Keepalive) -> Option<Rc<Trunk>> {
        let mut trunks = self.trunks.borrow_mut();
        let now = clock::now();
        trunks.retain(|trunk| {
            if trunk.is_worn(keepalive, now) {
                trunk.retire();
            }
            !trunk.is_retired()
        });
        trunks.iter().find(|trunk| trunk.has_room() && trunk.serves(owner)).cloned()
    }

    /// A connection that is being made, with which so many others as it is likely to take do not wait already.
    fn join(&self, owner: Option<&Rc<Mark>>) -> Option<Rc<Flight>> {
        let most = match (self.speaks.get(), self.last_most.get()) {
            (Speaks::Http1, _) => 1,
            (_, 0) => MOST_LANES,
            (_, most) => most,
        };
        let same = |flight: &&Rc<Flight>| match (&flight.owner, owner) {
            (None, None) => true,
            (Some(own), Some(owner)) => Rc::ptr_eq(own, owner),
            _ => false,
        };
        let flights = self.flights.borrow();
        flights.iter().filter(same).find(|flight| flight.waiting.get() < most).cloned()
    }
}

/// A connection that is being made, and who waits for it.
#[derive(Debug, Default)]
struct Flight {
    owner: Option<Rc<Mark>>,
    waiting: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
    landed: RefCell<Option<Result<(), ProxyError>>>,
    /// The connection, if the backend speaks HTTP/1.1: for one of those who wait.
    own: RefCell<Option<Upstream>>,
}

impl Flight {
    /// What became of it: a connection of HTTP/1.1 for the first who asks; nothing if there is a trunk, or may be.
    fn poll_landed(&self, cx: &Context<'_>) -> Poll<Result<Option<Upstream>, ProxyError>> {
        match &*self.landed.borrow() {
            Some(Ok(())) => Poll::Ready(Ok(self.own.borrow_mut().take())),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                self.wakers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn land(&self, outcome: Result<(), ProxyError>) {
        *self.landed.borrow_mut() = Some(outcome);
        self.wakers.take().into_iter().for_each(Waker::wake);
    }
}

/// Makes a connection for all who wait with the flight, whoever of them stays to see it.
async fn make(
    worker: Rc<Worker>,
    place: Rc<Place>,
    flight: Rc<Flight>,
    (pool, backend): (Arc<Pool>, usize),
    (carries, introduction): (Carries, Option<Introduction>),
) {
    let timer = worker.wheel.timer();
    let begun = clock::now();
    let made = async {
        let errand = Errand { worker: &worker, timer: &timer, carries, introduction };
        let upstream = connect(&errand, &pool, &pool.backends[backend], Moment::NEVER).await?;
        let secure = upstream.stream.facts();
        let agreed = secure.is_none_or(|facts| facts.alpn.as_deref() == Some(b"h2"));
        if !agreed {
            if carries == Carries::H2 {
                return Err(ProxyError::with(Cause::BackendNoH2, "it did not agree on h2 by ALPN"));
            }
            place.speaks.set(Speaks::Http1);
            *flight.own.borrow_mut() = Some(upstream);
            return Ok(());
        }
        let left = (begun + pool.connect_timeout).since(clock::now());
        let trunk = timer.limit(left, Trunk::begin(upstream, &worker)).await.map_err(|_| {
            ProxyError::with(Cause::BackendConnectTimeout, "it has not said anything in HTTP/2")
        })??;
        let most = trunk.most();
        if most == 0 {
            return Err(ProxyError::with(Cause::BackendNoH2, "its SETTINGS_MAX_CONCURRENT_STREAMS is 0"));
        }
        place.speaks.set(Speaks::H2);
        place.last_most.set(most);
        place.trunks.borrow_mut().push(trunk);
        Ok(())
    };
    let outcome = made.await;
    place.flights.borrow_mut().retain(|other| !Rc::ptr_eq(other, &flight));
    flight.land(outcome);
}
