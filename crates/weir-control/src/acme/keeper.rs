//! The care for one certificate: when it is due, whose turn it is, and what is said about it.

use std::{
    io,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use instant_acme::Error;
use tokio::time::sleep;
use weir_model::{
    acme::{Acme, Renewal, Span},
    status::{Proof, Proofs},
};

use super::{
    Shared,
    client::Client,
    lock::{Lock, SETTLING, Taken},
    order::{self, Failure, Placed},
    proof::Record,
    store::{Held, Stamp, State, Store, Window},
};

/// How often storage is looked at: what another instance is about to show is shown here this much later.
const GLANCE: Duration = Duration::from_millis(500);
/// After this, every instance has looked and shows what is in storage.
const SHOWN: Duration = Duration::from_millis(2000);
/// An authority that has not said when to renew is asked again after this many seconds.
const ASK_AGAIN: u64 = 6 * 3600;
/// One that does not say such things at all.
const ASK_ONCE: u64 = 24 * 3600;

/// See the module.
pub(super) struct Keeper {
    acme: Arc<Acme>,
    proofs: Arc<Proofs>,
    shared: Shared,
    store: Store,
    lock: Lock,
    /// The certificate that is there, and which state of its file that is.
    held: (Option<Stamp>, Option<Held>),
    /// What is given out just now.
    shown: Vec<Record>,
    /// What went wrong with storage, as it was said.
    trouble: String,
}

/// What is in storage.
struct Look {
    others: bool,
    stamp: Option<Stamp>,
    /// The certificate, if its file is not what it was.
    certificate: Option<Option<Held>>,
    state: State,
    /// What another instance is about to show.
    proofs: Vec<Record>,
}

impl Keeper {
    pub(super) fn new(acme: Arc<Acme>, proofs: Arc<Proofs>, shared: Shared) -> Self {
        let store = Store::new(&acme);
        let lock = Lock::new(store.clone(), owner());
        Self {
            acme,
            proofs,
            shared,
            store,
            lock,
            held: (None, None),
            shown: Vec::new(),
            trouble: String::new(),
        }
    }

    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(look) => self.act(look).await,
                Err(error) => self.complain(&error),
            }
            sleep(GLANCE).await;
        }
    }

    async fn look(&self) -> io::Result<Look> {
        let (store, lock, now) = (self.store.clone(), self.lock.clone(), (self.shared.wall)());
        let before = self.held.0;
        blocking(move || {
            let others = lock.is_others(now)?;
            let stamp = store.stamp();
            Ok(Look {
                others,
                stamp,
                certificate: (stamp != before).then(|| store.certificate(now)),
                state: store.state(),
                proofs: if others { store.proofs() } else { Vec::new() },
            })
        })
        .await
    }

    async fn act(&mut self, look: Look) {
        let now = (self.shared.wall)();
        self.trouble.clear();
        if let Some(certificate) = look.certificate {
            self.held = (look.stamp, certificate);
        }
        self.show(&look.proofs);
        let state = look.state;
        let due = self.due(&state, now);
        self.tell(&state, due);
        if look.others {
            return;
        }
        if due <= now {
            return self.attempt(state).await;
        }
        if let Some(held) = self.held.1.clone().filter(|held| is_to_ask(&state, held, now)) {
            self.ask_when(state, &held).await;
        }
    }

    fn due(&self, state: &State, now: u64) -> u64 {
        let held = self.held.1.as_ref();
        let window =
            state.window.as_ref().filter(|window| held.is_some_and(|held| held.serial == window.serial));
        let span = |(start, end)| Span { start, end };
        let renewal = Renewal {
            valid: held.map(|held| held.valid),
            window: window.and_then(|window| window.wanted).map(span),
            setbacks: state.setbacks(),
            draw: held.map_or(0, Held::draw),
        };
        renewal.due(now)
    }

    /// What operators see.
    fn tell(&self, state: &State, due: u64) {
        let status = &self.acme.status;
        status.next_attempt.store(due, Ordering::Relaxed);
        status.failures.store(state.failures, Ordering::Relaxed);
        let ends = self.held.1.as_ref().map_or(0, |held| held.valid.end);
        status.not_after.store(ends, Ordering::Relaxed);
        if status.last_error().as_deref() != state.last_error.as_deref() {
            status.set_last_error(state.last_error.as_deref());
        }
    }

    /// Gives these proofs out, if they are not given out already.
    fn show(&mut self, records: &[Record]) {
        if self.shown == records {
            return;
        }
        let proofs: Vec<Proof> =
            records.iter().filter_map(|record| record.proof(self.acme.challenge).ok()).collect();
        self.proofs.set(&self.acme.label, &proofs);
        self.shown = records.to_vec();
    }

    /// Storage cannot be used. Said once, until that changes.
    fn complain(&mut self, error: &io::Error) {
        let sentence = format!("`{}` cannot be used: {error}", self.acme.storage.display());
        self.acme.status.set_last_error(Some(&sentence));
        if self.trouble != sentence {
            self.say(&sentence);
            self.trouble = sentence;
        }
    }

    fn say(&self, sentence: &str) {
        let domains: Vec<_> = self.acme.domains.iter().map(|domain| &**domain).collect();
        (self.shared.log)(&format!("certificate for {}: {sentence}", domains.join(", ")));
    }

    /// Has the certificate issued, unless somebody else does.
    async fn attempt(&mut self, state: State) {
        let taken = match self.lock_it().await {
            Ok(taken) => taken,
            Err(error) => return self.complain(&error),
        };
        if !taken {
            return;
        }
        // Whoever had it before may have been given what is wanted here.
        let is_due = match self.look().await {
            Ok(look) => {
                if let Some(certificate) = look.certificate {
                    self.held = (look.stamp, certificate);
                }
                self.due(&look.state, (self.shared.wall)()) <= (self.shared.wall)()
            }
            Err(_) => false,
        };
        if is_due {
            let result = self.order().await;
            self.proofs.set(&self.acme.label, &[]);
            self.note(state, result).await;
        }
        let (store, lock, now) = (self.store.clone(), self.lock.clone(), (self.shared.wall)());
        let released = blocking(move || {
            store.set_proofs(&[])?;
            lock.release(now)
        });
        if let Err(error) = released.await {
            self.complain(&error);
        }
    }

    async fn lock_it(&self) -> io::Result<bool> {
        let (lock, now) = (self.lock.clone(), (self.shared.wall)());
        match blocking(move || lock.take(now)).await? {
            Taken::Held => Ok(true),
            Taken::Others => Ok(false),
            Taken::Claimed => {
                sleep(SETTLING).await;
                let (lock, now) = (self.lock.clone(), (self.shared.wall)());
                blocking(move || lock.is_own(now)).await
            }
        }
    }

    async fn order(&self) -> Result<(), (Failure, Option<u64>)> {
        let client =
            Client::new(self.acme.authorities.as_deref()).map_err(|sentence| (sentence.into(), None))?;
        let placed = Showing { keeper: self };
        let result = async {
            let account = order::account(&self.acme, &self.store, &client).await?;
            let pem = order::issue(&self.acme, &account, self.held.1.as_ref(), &placed).await?;
            let store = self.store.clone();
            let kept = blocking(move || store.write_certificate(&pem)).await;
            kept.map_err(|error| Failure::from(format!("what was issued cannot be kept: {error}")))
        };
        result.await.map_err(|failure| (failure, client.take_asked_to_wait()))
    }

    /// Writes down what came of an attempt.
    async fn note(&self, state: State, result: Result<(), (Failure, Option<u64>)>) {
        let (now, status) = ((self.shared.wall)(), &self.acme.status);
        let (state, stranger) = match result {
            Ok(()) => {
                status.issued.fetch_add(1, Ordering::Relaxed);
                (State::default(), false)
            }
            Err((Failure { sentence, stranger }, retry_after)) => {
                status.failed.fetch_add(1, Ordering::Relaxed);
                let state = state.failed(now, &sentence, retry_after);
                let next = (self.shared.date)(self.due(&state, now));
                self.say(&format!("{sentence}; the next attempt is at {next}"));
                (state, stranger)
            }
        };
        let store = self.store.clone();
        let issued = state.failures == 0;
        let written = blocking(move || {
            if stranger {
                store.forget_account()?;
            }
            store.set_state(&state)?;
            Ok(store.certificate(now).map(|held| held.valid.end))
        });
        match written.await {
            Ok(Some(ends)) if issued => {
                self.say(&format!("issued, until {}", (self.shared.date)(ends)));
            }
            Ok(None) if issued => self.say("what was issued cannot be used"),
            Ok(_) => {}
            Err(error) => self.say(&format!("`{}` cannot be written: {error}", self.acme.storage.display())),
        }
    }

    /// Asks the authority when it would like the certificate to be renewed, and writes that down.
    async fn ask_when(&self, state: State, held: &Held) {
        let now = (self.shared.wall)();
        let asked = async {
            let client = Client::new(self.acme.authorities.as_deref())?;
            let account = order::account(&self.acme, &self.store, &client).await?;
            let Some(identifier) = order::identifier(held) else { return Ok::<_, Failure>((None, ASK_ONCE)) };
            match account.renewal_info(&identifier).await {
                Ok((info, again)) => {
                    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
                    let window = info.suggested_window;
                    let wanted =
                        (seconds(window.start.unix_timestamp()), seconds(window.end.unix_timestamp()));
                    Ok((Some(wanted), again.as_secs().clamp(60, ASK_ONCE)))
                }
                Err(Error::Unsupported(_)) => Ok((None, ASK_ONCE)),
                Err(error) => Err(error.into()),
            }
        };
        let before = state.window.clone().filter(|window| window.serial == held.serial);
        // What goes wrong here is no reason to say anything: the certificate is renewed in time in any case.
        let (wanted, again) =
            asked.await.unwrap_or_else(|_| (before.and_then(|window| window.wanted), ASK_AGAIN));
        let window = Window { serial: held.serial.clone(), wanted, ask_at: now + again };
        let (store, state) = (self.store.clone(), State { window: Some(window), ..state });
        let _ = blocking(move || store.set_state(&state)).await;
    }
}

/// True if the authority is to be asked when it would like this certificate to be renewed.
fn is_to_ask(state: &State, held: &Held, now: u64) -> bool {
    let window = state.window.as_ref().filter(|window| window.serial == held.serial);
    window.is_none_or(|window| window.ask_at <= now || window.ask_at > now + 2 * ASK_ONCE)
}

/// An order of a keeper.
struct Showing<'k> {
    keeper: &'k Keeper,
}

impl Placed for Showing<'_> {
    async fn show(&self, records: Vec<Record>) -> Result<(), Failure> {
        let keeper = self.keeper;
        let proofs = records.iter().map(|record| record.proof(keeper.acme.challenge));
        let proofs = proofs.collect::<Result<Vec<_>, _>>()?;
        keeper.proofs.set(&keeper.acme.label, &proofs);
        let store = keeper.store.clone();
        let written = blocking(move || store.set_proofs(&records)).await;
        written.map_err(|error| format!("proofs cannot be written into storage: {error}"))?;
        sleep(SHOWN).await;
        Ok(())
    }

    async fn go_on(&self) -> Result<(), Failure> {
        let (lock, now) = (self.keeper.lock.clone(), (self.keeper.shared.wall)());
        match blocking(move || lock.keep(now)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("another instance has taken over".to_owned().into()),
            Err(error) => Err(format!("the lock cannot be kept: {error}").into()),
        }
    }
}

/// A file system that hangs holds up nobody but this certificate.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// What no other process is called, here or on another machine.
fn owner() -> String {
    static OWNER: OnceLock<String> = OnceLock::new();
    OWNER.get_or_init(new_owner).clone()
}

fn new_owner() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!("{host} {} {nanos}", std::process::id())
}
