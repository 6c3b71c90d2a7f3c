//! How many probes are under way at once, and that slow ones hold up nobody.
//!
//! ```text
//!  up, unknown ──> prompt (64) ──── answered within a tenth of a second
//!                      └── not yet ──> slow (1024): its place in the first lane goes to the next one
//!  down ─────────> down (256)
//! ```
//!
//! A thousand backends that hang until their time-out are therefore asked beside each other, and those that are well are
//! asked when they are due. Each backend has one probe under way at most, and the file limit leaves room for that one.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{select, sync::Semaphore, time::timeout};

/// Probes of backends that may well answer at once.
pub(super) const PROMPT: usize = 64;
/// Probes that have not.
const SLOW: usize = 1024;
/// Probes of backends that are down.
const DOWN: usize = 256;
/// Who has answered within this time is not slow.
const SOON: Duration = Duration::from_millis(100);

/// Places for probes.
#[derive(Debug)]
pub(super) struct Lanes {
    prompt: Semaphore,
    slow: Semaphore,
    down: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { prompt: Semaphore::new(PROMPT), slow: Semaphore::new(SLOW), down: Semaphore::new(DOWN) }
    }
}

impl Lanes {
    /// Waits for a place and probes.
    pub(super) async fn pass<T>(&self, is_down: bool, probe: impl Future<Output = T>) -> T {
        // Nobody closes the lanes, so there always is a place in the end.
        if is_down {
            let _place = self.down.acquire().await;
            return probe.await;
        }
        let place = self.prompt.acquire().await;
        let mut probe = pin!(probe);
        if let Ok(outcome) = timeout(SOON, &mut probe).await {
            return outcome;
        }
        let _slow = select! {
            biased;
            outcome = &mut probe => return outcome,
            slow = self.slow.acquire() => slow,
        };
        drop(place);
        probe.await
    }
}
