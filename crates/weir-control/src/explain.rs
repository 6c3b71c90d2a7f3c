//! `explain`: which route takes a request, which backend gets it, and why, without sending anything.
//!
//! Nothing is decided here. Requests are judged by the path's own code (the binary's [`Rehearse`]), routed by the
//! listener's own table, and balanced by the pool's own policy; this puts together what they say.

mod effects;
mod question;
mod text;

use serde::{Deserialize, Serialize};
use weir_model::{
    balance::{Ask, Choice, Key, KeyHash},
    listener::{Listener, Protocol},
    route::{Action, ConnectionFacts, RequestFacts, Route, Verdict},
    snapshot::Snapshot,
    time::Moment,
};

use crate::trouble::Trouble;
pub(crate) use effects::duration;
pub use question::{Particulars, Question, Scheme};

/// Judges requests as the path does. The binary implements it with weir-proxy's code.
pub trait Rehearse {
    /// A judged request.
    type Request: Rehearsed;

    /// Judges a request head as it would come to this listener.
    ///
    /// # Errors
    /// Why the listener would refuse it.
    fn rehearse(&self, listener: &Listener, question: &Question) -> Result<Self::Request, Refused>;

    /// Judges a connection as it would come to this listener.
    ///
    /// # Errors
    /// Why the listener would refuse it.
    fn connect(&self, listener: &Listener, question: &Question) -> Result<(), Refused>;
}

/// A request that was judged and not sent.
pub trait Rehearsed {
    /// What routes may ask about it.
    fn facts(&self) -> impl RequestFacts;
    /// Why it is refused although this route takes it; none if it is not.
    fn refused_by(&self, route: &Route) -> Option<Refused>;
    /// True if it may be passed on no more, so that no backend is asked.
    fn is_last(&self) -> bool;
    /// True if it may be sent a second time after it was sent once.
    fn is_idempotent(&self) -> bool;
    /// True if its content can be sent a second time; none if it does not say that it has any.
    fn can_resend(&self) -> Option<bool>;
    /// The head that a backend gets if this route takes it.
    fn forwarded(&self, route: &Route) -> Vec<u8>;
    /// The fields of the answer that this route gives by itself.
    fn answered(&self, route: &Route) -> Vec<u8>;
}

/// Why a listener refuses a request before it is routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The stable cause.
    pub code: &'static str,
    /// What the client is told; 0 for a connection that is closed without a word.
    pub status: u16,
    /// One sentence without a full stop.
    pub sentence: String,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The route that takes it; none if none does.
    pub route: Option<String>,
    /// `pool`, `split`, `redirect`, `respond`; `none` if no route takes it, `refused` if it is not routed at all.
    pub action: String,
    /// The pool it goes to; of a split, the one that was drawn.
    pub pool: Option<String>,
    /// The address of the backend that is chosen.
    pub pick: Option<String>,
    /// Every route that was tried, in order, up to and with the one that takes it.
    pub tested: Vec<Tested>,
    /// Every backend of the pool.
    pub candidates: Vec<CandidateView>,
    /// What happens on the way, each a sentence.
    pub effects: Vec<String>,
    /// The arms of a split; empty for any other action.
    pub split: Vec<Arm>,
    /// The policy of the pool.
    pub balance: Option<String>,
    /// What holds for the pool as a whole: that it is in panic, that its backups carry the traffic.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the policy places it by, in words; none if it does not hash.
    pub key: Option<String>,
    /// The hash of that, as 16 hexadecimal digits.
    pub hash: Option<String>,
    /// The listener it came to.
    pub listener: String,
    /// What was asked about, in one line.
    pub question: String,
    /// True if the running process said this, false if it was worked out from a file.
    pub live: bool,
}

/// What became of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// Its name.
    pub route: String,
    /// Whether it takes the request.
    pub matched: bool,
    /// Why.
    pub why: String,
}

/// A backend as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Its address.
    pub address: String,
    /// Its name.
    pub name: String,
    /// Whether it may be chosen.
    pub eligible: bool,
    /// Why.
    pub why: String,
}

/// One arm of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Its pool.
    pub pool: String,
    /// Its share relative to the others.
    pub weight: u32,
    /// Whether this one was drawn; every request draws anew.
    pub drawn: bool,
}

/// Where health comes from, and what chance decides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// True if the snapshot is the one that serves traffic.
    pub live: bool,
    /// Decides what traffic leaves to chance.
    pub draw: u64,
    /// The time, as the status of backends counts it.
    pub now: Moment,
}

/// Explains what becomes of a request or connection.
///
/// # Errors
/// If it cannot be said which listener it would come to.
pub fn explain<R: Rehearse>(
    snapshot: &Snapshot,
    question: &Question,
    rehearse: &R,
    circumstances: Circumstances,
) -> Result<Explanation, Trouble> {
    let listener = question.listener(snapshot)?;
    let mut told = Explanation {
        route: None,
        action: "none".into(),
        pool: None,
        pick: None,
        tested: Vec::new(),
        candidates: Vec::new(),
        effects: Vec::new(),
        split: Vec::new(),
        balance: None,
        notes: Vec::new(),
        key: None,
        hash: None,
        listener: listener.name.to_string(),
        question: question.to_string(),
        live: circumstances.live,
    };
    let refused = match listener.protocol {
        Protocol::Http | Protocol::Https => match rehearse.rehearse(listener, question) {
            Ok(request) => {
                let facts = request.facts();
                told.test(listener.routes.explain(&facts));
                if let Some(number) = listener.routes.position(&facts) {
                    let route = &listener.routes.routes()[number];
                    if let Some(refused) = request.refused_by(route) {
                        return Ok(told.refused(&refused));
                    }
                    if request.is_last() && route.action.pools().next().is_some() {
                        return Ok(told.answered_as_last(route));
                    }
                    let key = |key: &Key| key.of_request(&facts, || question.flow());
                    told.take(snapshot, route, circumstances, key);
                    told.keep_to_backend(snapshot, &facts, circumstances.now);
                    told.effects = effects::of_request(snapshot, listener, route, &told, &request);
                } else {
                    told.effects.push("the client is answered 404 Not Found: no route matches".into());
                }
                return Ok(told);
            }
            Err(refused) => refused,
        },
        Protocol::Tcp | Protocol::Tls => match rehearse.connect(listener, question) {
            Ok(()) => {
                let source = question.source.ip().to_canonical();
                let server_name = question.server_name().filter(|_| listener.opens());
                let facts =
                    ConnectionFacts { server_name: server_name.as_deref(), ..ConnectionFacts::from(source) };
                told.test(listener.routes.explain_connection(&facts));
                if let Some(route) = listener.routes.find_connection(&facts) {
                    let key = |key: &Key| key.of_connection(source, || question.flow());
                    told.take(snapshot, route, circumstances, key);
                    told.effects = effects::of_connection(snapshot, listener, &told);
                } else {
                    told.effects.push("the connection is reset: no route matches".into());
                }
                return Ok(told);
            }
            Err(refused) => refused,
        },
    };
    Ok(told.refused(&refused))
}

impl Explanation {
    fn refused(mut self, refused: &Refused) -> Self {
        self.action = "refused".into();
        self.effects.push(effects::of_refusal(refused));
        self
    }

    /// What asks who is on the way to a backend, and comes no further than here.
    fn answered_as_last(mut self, route: &Route) -> Self {
        self.route = Some(route.name.to_string());
        self.action = "respond".into();
        self.effects.push(
            "the client is answered 200 here: Max-Forwards is 0, and no backend is asked (RFC 9110 section 7.6.2)".into(),
        );
        self
    }

    fn test(&mut self, tested: Vec<(&std::sync::Arc<Route>, Verdict)>) {
        let view = |(route, verdict): (&std::sync::Arc<Route>, Verdict)| Tested {
            route: route.name.to_string(),
            matched: verdict.matched,
            why: verdict.why,
        };
        self.tested = tested.into_iter().map(view).collect();
    }

    /// Writes down what a cookie of the request, or the lack of one, means for where it goes.
    fn keep_to_backend(&mut self, snapshot: &Snapshot, facts: &impl RequestFacts, now: Moment) {
        let pool = self.pool.as_deref().and_then(|name| snapshot.pool(name));
        let Some((_, pool)) = pool else { return };
        let Some(sticky) = &pool.sticky else { return };
        let cookie = &sticky.cookie;
        let Some(bond) = sticky.bond(facts) else {
            self.notes.push(format!("the answer binds the client to its backend by the cookie `{cookie}`"));
            return;
        };
        match pool.bound(bond, now) {
            Some(index) if !pool.backends[index].is_full() => {
                let backend = &pool.backends[index];
                self.pick = Some(backend.endpoint.to_string());
                self.notes.push(format!("the cookie `{cookie}` binds the client to `{}`", backend.name));
            }
            Some(index) => {
                let name = &pool.backends[index].name;
                self.notes.push(format!(
                    "the cookie `{cookie}` binds the client to `{name}`, which is full just now"
                ));
            }
            None => self.notes.push(format!(
                "the cookie `{cookie}` binds the client to a backend that is gone, disabled or not healthy: it is bound \
                 anew"
            )),
        }
    }

    /// Writes down what the route does with it.
    fn take(
        &mut self,
        snapshot: &Snapshot,
        route: &Route,
        circumstances: Circumstances,
        key: impl FnOnce(&Key) -> KeyHash,
    ) {
        let Circumstances { draw, now, .. } = circumstances;
        self.route = Some(route.name.to_string());
        self.action = route.action.word().into();
        let index = match &route.action {
            Action::Pool(pool) => *pool,
            Action::Split(split) => {
                let drawn = split.pick(draw);
                let arms = split.arms.iter().enumerate().map(|(arm, (pool, weight))| Arm {
                    pool: snapshot.pools[*pool].name.to_string(),
                    weight: *weight,
                    drawn: arm == drawn,
                });
                self.split = arms.collect();
                split.arms[drawn].0
            }
            Action::Redirect(_) | Action::Respond(_) => return,
        };
        let pool = &snapshot.pools[index];
        let placed = pool.balance.key.as_ref().map(|wanted| (wanted, key(wanted)));
        let hash = placed.map_or(0, |(_, placed)| placed.hash);
        let choice = Choice::explain(pool, &Ask { hash, tried: &[], now }, draw);
        if let Some((wanted, placed)) = placed {
            self.key = Some(match placed.found {
                true => wanted.words(),
                false => format!("source, since there is no {}", wanted.words()),
            });
            self.hash = Some(format!("{hash:016x}"));
        }
        let views = pool.backends.iter().zip(choice.candidates).map(|(backend, candidate)| CandidateView {
            address: backend.endpoint.to_string(),
            name: backend.name.to_string(),
            eligible: candidate.eligible,
            why: candidate.why,
        });
        self.candidates = views.collect();
        self.notes = choice.notes;
        self.pick = choice.pick.map(|index| pool.backends[index].endpoint.to_string());
        self.pool = Some(pool.name.to_string());
        self.balance = Some(pool.balance.word().into());
    }
}

#[cfg(test)]
mod tests;
