//! When a certificate is renewed: a rule of the wall clock, in seconds since 1970.

/// From one second to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: u64,
    /// The last.
    pub end: u64,
}

/// What went wrong since the last certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setbacks {
    /// Failures in a row.
    pub count: u32,
    /// When the last of them was.
    pub last: u64,
    /// Before this, the authority does not want to be asked again; 0 if it has not said.
    pub not_before: u64,
}

impl Setbacks {
    /// The wait after a first failure; it doubles with each one that follows.
    const SHORTEST: u64 = 60;
    /// The longest wait that weir imposes on itself. An authority may ask for more.
    const LONGEST: u64 = 24 * 3600;
    /// The longest wait that an authority may ask for.
    const AT_MOST: u64 = 7 * 24 * 3600;

    /// One more failure, now. `retry_after` is how long the authority asks to wait, in seconds.
    #[must_use]
    pub fn failed(self, now: u64, retry_after: Option<u64>) -> Self {
        let not_before = retry_after.map_or(0, |wait| now.saturating_add(wait.min(Self::AT_MOST)));
        Self { count: self.count.saturating_add(1), last: now, not_before }
    }

    /// When the next attempt may be; 0 if nothing went wrong.
    pub fn over(self) -> u64 {
        let Some(before) = self.count.checked_sub(1) else { return 0 };
        let wait = Self::SHORTEST.checked_shl(before.min(32)).unwrap_or(Self::LONGEST).min(Self::LONGEST);
        self.last.saturating_add(wait).max(self.not_before)
    }
}

/// What decides when a certificate is renewed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renewal {
    /// From when to when the certificate that is there is valid; none if there is none.
    pub valid: Option<Span>,
    /// When the authority would like it to be renewed (RFC 9773), if it has said.
    pub window: Option<Span>,
    /// What went wrong.
    pub setbacks: Setbacks,
    /// Where in the window: whatever is the same for all instances and after a restart, and differs between certificates.
    pub draw: u64,
}

impl Renewal {
    /// When the next attempt is due; at once if that is not later than now. After two thirds of its lifetime, unless the
    /// authority says something else.
    pub fn due(&self, now: u64) -> u64 {
        let wanted = match (self.valid, self.window) {
            (None, _) => now,
            // A window that ends after the certificate would leave a while without one.
            (Some(valid), Some(window)) => self.within(window).max(earliest(valid)).min(latest(valid)),
            (Some(valid), None) => two_thirds(valid),
        };
        let over = self.setbacks.over();
        // A clock that was put back must not keep weir waiting for what it has seen in the future.
        let over = if self.setbacks.last > now { now } else { over };
        wanted.max(over)
    }

    /// A moment of the window, all of them being as likely as the others.
    fn within(&self, window: Span) -> u64 {
        let length = window.end.saturating_sub(window.start);
        let into = (u128::from(self.draw) * u128::from(length)) >> 64;
        window.start.saturating_add(into as u64)
    }
}

const fn length(valid: Span) -> u64 {
    valid.end.saturating_sub(valid.start)
}

const fn two_thirds(valid: Span) -> u64 {
    valid.start.saturating_add(length(valid) / 3 * 2)
}

/// Before this, no authority is believed that wants it renewed: one that always does would be asked for ever.
const fn earliest(valid: Span) -> u64 {
    let (six_hours, tenth) = (6 * 3600, length(valid) / 10);
    valid.start.saturating_add(if tenth < six_hours { tenth } else { six_hours })
}

/// After this there is hardly time left to try again.
const fn latest(valid: Span) -> u64 {
    valid.end.saturating_sub(length(valid) / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const QUARTER: Span = Span { start: 1000 * DAY, end: 1090 * DAY };

    #[test]
    fn without_a_certificate_it_is_due_at_once() {
        assert_eq!(Renewal::default().due(77), 77);
        let setbacks = Setbacks::default().failed(70, None);
        assert_eq!(Renewal { setbacks, ..Renewal::default() }.due(77), 130);
    }

    #[test]
    fn it_is_renewed_after_two_thirds_of_its_time() {
        let renewal = Renewal { valid: Some(QUARTER), ..Renewal::default() };
        assert_eq!(renewal.due(1001 * DAY), 1060 * DAY);
        // Once it is late, it is due: not later.
        assert_eq!(renewal.due(1080 * DAY), 1060 * DAY);
        let week = Renewal { valid: Some(Span { start: 0, end: 6 * DAY }), ..Renewal::default() };
        assert_eq!(week.due(0), 4 * DAY);
    }

    #[test]
    fn the_authority_may_say_when() {
        let window = Span { start: 1030 * DAY, end: 1032 * DAY };
        let at = |draw| Renewal { valid: Some(QUARTER), window: Some(window), draw, ..Renewal::default() };
        assert_eq!(at(0).due(1001 * DAY), window.start);
        assert_eq!(at(1 << 63).due(1001 * DAY), 1031 * DAY);
        assert!(at(u64::MAX).due(1001 * DAY) < window.end);
        // It is going to be revoked: the window is over.
        let past = Span { start: 1000 * DAY, end: 1000 * DAY + 1 };
        let renewal = Renewal { window: Some(past), ..at(5) };
        assert!(renewal.due(1001 * DAY) < 1001 * DAY);
        // One that is new is not replaced at once, whatever is wanted.
        assert_eq!(renewal.due(1000 * DAY), 1000 * DAY + 6 * 3600);
        // Nonsense does not let it run out.
        for window in [Span { start: 2000 * DAY, end: 3000 * DAY }, Span { start: u64::MAX, end: 0 }] {
            let renewal = Renewal { window: Some(window), ..at(u64::MAX) };
            assert!(renewal.due(1001 * DAY) < QUARTER.end);
        }
    }

    #[test]
    fn attempts_that_fail_become_rare_and_never_stop() {
        let mut setbacks = Setbacks::default();
        let mut now = 5000 * DAY;
        let mut waits = Vec::new();
        for _ in 0..60 {
            setbacks = setbacks.failed(now, None);
            let due = Renewal { setbacks, ..Renewal::default() }.due(now);
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits[..5], [60, 120, 240, 480, 960]);
        assert!(waits.is_sorted() && waits[11..] == [DAY; 49][..], "{waits:?}");
    }

    #[test]
    fn whoever_asks_to_wait_is_given_the_time_within_reason() {
        let asked = |wait| Setbacks::default().failed(100, Some(wait)).over();
        assert_eq!((asked(5), asked(3600), asked(u64::MAX)), (160, 3700, 100 + 7 * DAY));
        // The next failure counts from there, and says anew how long.
        assert_eq!(Setbacks::default().failed(100, Some(3600)).failed(3700, None).over(), 3820);
    }

    #[test]
    fn a_clock_that_was_put_back_holds_up_nothing() {
        let setbacks = Setbacks::default().failed(9000, Some(3600));
        assert_eq!(Renewal { setbacks, ..Renewal::default() }.due(50), 50);
    }
}
