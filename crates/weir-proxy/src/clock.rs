//! The only place that reads the clock. A worker reads it once per wake-up; everything between two wake-ups sees the
//! same time.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use weir_model::time::Moment;

/// The start of the process: moments count from here.
static START: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static MICROS: Cell<u64> = const { Cell::new(0) };
    /// The same in milliseconds: asked for a dozen times per request.
    static MILLIS: Cell<u64> = const { Cell::new(0) };
}

/// Reads the clock for this thread. The runtime calls it after each wait, the timer wheel at each tick.
pub fn refresh() {
    let micros = START.get_or_init(Instant::now).elapsed().as_micros() as u64;
    // Moment 0 is the start itself; 1 keeps "not yet" apart from "at the start".
    let micros = micros.max(1);
    MICROS.set(micros);
    MILLIS.set(micros / 1000);
}

/// Microseconds since the start of the process, as of this thread's last wake-up.
#[inline]
pub fn micros() -> u64 {
    MICROS.get()
}

/// Milliseconds since the start of the process, as of this thread's last wake-up.
#[inline]
pub fn now() -> Moment {
    Moment(MILLIS.get())
}

/// Microseconds since this thread's last wake-up, read now: how long it has worked without waiting for anybody. A read
/// of the clock, so at most a few of them per request.
pub fn since_wake_up() -> u64 {
    let now = START.get_or_init(Instant::now).elapsed().as_micros() as u64;
    now.saturating_sub(MICROS.get())
}

/// Milliseconds since the start of the process, read now: for threads that have no wake-ups of their own.
pub fn read() -> Moment {
    Moment(START.get_or_init(Instant::now).elapsed().as_millis() as u64)
}

thread_local! {
    /// The second that the offset was measured in, and microseconds from the start of the process to 1970.
    static OFFSET: Cell<(u64, u64)> = const { Cell::new((u64::MAX, 0)) };
}

/// The time of day in microseconds since 1970 at a moment given in microseconds since the start of the process. The two
/// clocks are compared once a second.
pub fn wall_at(micros: u64) -> u64 {
    let (second, offset) = OFFSET.get();
    let now = MICROS.get() / 1_000_000;
    if second == now {
        return offset + micros;
    }
    let (seconds, fraction) = wall();
    let since = START.get_or_init(Instant::now).elapsed().as_micros() as u64;
    let offset = (seconds * 1_000_000 + u64::from(fraction)).saturating_sub(since);
    OFFSET.set((now, offset));
    offset + micros
}

/// The time of day: seconds and microseconds since 1970.
pub fn wall() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_micros())
}
