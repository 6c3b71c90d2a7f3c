//! `dns`: each address of a name is a backend.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use weir_model::discovery::Asking;

use super::{
    feed::{Entry, Feed, again_after},
    names::{Answer, Family, Names, Trouble},
};

/// Asks for ever.
pub(super) async fn follow(feed: &mut Feed, host: &str, port: u16, asking: &Asking) {
    let names = Names::new(&asking.servers);
    let refresh = asking.refresh.duration();
    let mut known = Known::default();
    loop {
        let (v4, v6) = names.asker().addresses(host).await;
        let pause = match known.learn(v4, v6) {
            Ok(time_to_live) => {
                let address = |ip: IpAddr| Entry::at(SocketAddr::new(ip, port));
                feed.entries(known.addresses().map(address).collect(), Vec::new());
                again_after(time_to_live, refresh)
            }
            Err(trouble) => {
                feed.failed(trouble.sentence());
                feed.patience(refresh)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The addresses of a name as they were answered last, each version for itself: where only one can be asked for, the other
/// stays as it was.
#[derive(Debug, Default)]
pub(super) struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Known {
    /// Takes in two answers; the shorter time to live of them, or why nothing was learnt from either.
    ///
    /// # Errors
    /// If there is no address, or nobody could be asked: nothing is forgotten then.
    pub(super) fn learn(&mut self, v4: Family, v6: Family) -> Result<Duration, Trouble> {
        let shorter = match (&v4, &v6) {
            (Ok(one), Ok(other)) => one.time_to_live.min(other.time_to_live),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => one.time_to_live,
            // The one that could not be asked may be the one that has them.
            (Err(Trouble::Nothing(_)), Err(failed @ Trouble::Failed(_))) => return Err(failed.clone()),
            (Err(trouble), Err(_)) => return Err(trouble.clone()),
        };
        for (own, family) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
            match family {
                Ok(Answer { items, .. }) => *own = items,
                Err(Trouble::Nothing(_)) => own.clear(),
                Err(Trouble::Failed(_)) => {}
            }
        }
        Ok(shorter)
    }

    /// All of them, in a stable order.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.iter().chain(&self.v6).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn family() -> impl Strategy<Value = Family> {
        let address = any::<u8>().prop_map(|last| IpAddr::from([10, 0, 0, last]));
        let answer = (prop::collection::vec(address, 1..4), 0..100u64)
            .prop_map(|(items, seconds)| Answer { items, time_to_live: Duration::from_secs(seconds) });
        prop_oneof![
            answer.prop_map(Ok),
            Just(Err(Trouble::Nothing("nothing".into()))),
            Just(Err(Trouble::Failed("failed".into()))),
        ]
    }

    proptest! {
        /// Whatever is answered, in whatever order: once there was an address there always is one, a version that could
        /// not be asked for stays as it was, and the time to live is never longer than that of an answer.
        #[test]
        fn nothing_good_is_given_up_for_nothing(answers in prop::collection::vec((family(), family()), 1..20)) {
            let mut known = Known::default();
            let mut had_some = false;
            for (v4, v6) in answers {
                let before = (known.v4.clone(), known.v6.clone());
                let outcome = known.learn(v4.clone(), v6.clone());
                for (was, is, family) in [(before.0, &known.v4, &v4), (before.1, &known.v6, &v6)] {
                    match (family, &outcome) {
                        (Ok(answer), Ok(time_to_live)) => {
                            prop_assert_eq!(&answer.items, is);
                            prop_assert!(*time_to_live <= answer.time_to_live);
                        }
                        (Err(Trouble::Nothing(_)), Ok(_)) => prop_assert!(is.is_empty()),
                        _ => prop_assert_eq!(&was, is),
                    }
                }
                prop_assert_eq!(outcome.is_ok(), v4.is_ok() || v6.is_ok());
                had_some |= outcome.is_ok();
                prop_assert_eq!(known.addresses().next().is_some(), had_some);
            }
        }
    }
}
