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
        let outcome = match names.asker() {
            Ok(asker) => {
                let (v4, v6) = asker.addresses(host).await;
                known.learn(v4, v6)
            }
            Err(trouble) => Err(trouble),
        };
        let pause = match outcome {
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
