//! Times of day as text: RFC 3339 and the form of NCSA httpd. The part up to the second is made once a second.

use std::cell::RefCell;

/// A date and time of day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: u64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

impl Civil {
    /// Days to a date as in Hinnant, "chrono-Compatible Low-Level Date Algorithms", for times since 1970.
    const fn of(seconds: u64) -> Self {
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u8;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        Self {
            year,
            month: month as u8,
            day,
            hour: (seconds / 3600 % 24) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
        }
    }

    /// `2026-11-21T02:35:33`.
    fn rfc3339(self) -> Vec<u8> {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").into_bytes()
    }

    /// `21/Nov/2026:02:35:33`.
    fn clf(self) -> Vec<u8> {
        let Self { year, month, day, hour, minute, second } = self;
        let month = String::from_utf8_lossy(MONTHS[usize::from(month - 1) % 12]);
        format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}").into_bytes()
    }
}

/// Both texts of one second.
struct Texts {
    second: u64,
    rfc3339: Vec<u8>,
    clf: Vec<u8>,
}

thread_local! {
    static TEXTS: RefCell<Texts> =
        const { RefCell::new(Texts { second: u64::MAX, rfc3339: Vec::new(), clf: Vec::new() }) };
}

fn with_texts<R>(second: u64, use_them: impl FnOnce(&Texts) -> R) -> R {
    TEXTS.with_borrow_mut(|texts| {
        if texts.second != second {
            let civil = Civil::of(second);
            *texts = Texts { second, rfc3339: civil.rfc3339(), clf: civil.clf() };
        }
        use_them(texts)
    })
}

/// Appends three digits.
fn put_millis(micros: u64, out: &mut Vec<u8>) {
    let millis = (micros % 1_000_000 / 1000) as u16;
    out.extend([millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8));
}

/// Appends RFC 3339 in UTC with milliseconds; `micros` count since 1970.
pub(crate) fn put_rfc3339(micros: u64, out: &mut Vec<u8>) {
    with_texts(micros / 1_000_000, |texts| out.extend_from_slice(&texts.rfc3339));
    out.push(b'.');
    put_millis(micros, out);
    out.push(b'Z');
}

/// Appends `21/Nov/2026:02:35:33`, without zone.
pub(crate) fn put_clf(micros: u64, out: &mut Vec<u8>) {
    with_texts(micros / 1_000_000, |texts| out.extend_from_slice(&texts.clf));
}

/// Appends `21/Nov/2026:02:35:33.042`, as HAProxy does.
pub(crate) fn put_clf_millis(micros: u64, out: &mut Vec<u8>) {
    put_clf(micros, out);
    out.push(b'.');
    put_millis(micros, out);
}

/// Appends seconds since 1970 with milliseconds.
pub(crate) fn put_unix(micros: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1_000_000).as_bytes());
    out.push(b'.');
    put_millis(micros, out);
}

/// RFC 3339 in UTC with milliseconds, from seconds and microseconds since 1970.
pub fn timestamp((seconds, micros): (u64, u32)) -> String {
    let mut out = Vec::with_capacity(24);
    put_rfc3339(seconds * 1_000_000 + u64::from(micros), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_right() {
        assert_eq!(timestamp((0, 0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp((951_827_696, 999_999)), "2000-02-29T12:34:56.999Z");
        assert_eq!(timestamp((1_795_216_269, 5_000)), "2026-11-20T23:11:09.005Z");
        let micros = 1_795_216_269_042_000;
        assert_eq!(text(|out| put_clf(micros, out)), "20/Nov/2026:23:11:09");
        assert_eq!(text(|out| put_clf_millis(micros, out)), "20/Nov/2026:23:11:09.042");
        assert_eq!(text(|out| put_unix(micros, out)), "1795216269.042");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        for day in 0..80_000u64 {
            let (today, tomorrow) = (Civil::of(day * 86_400), Civil::of((day + 1) * 86_400));
            let key = |civil: Civil| (civil.year, civil.month, civil.day);
            assert!(key(today) < key(tomorrow), "{today:?} {tomorrow:?}");
            let next = tomorrow.day == today.day + 1;
            let first = tomorrow.day == 1 && today.day >= 28;
            assert!(next != first, "{today:?} {tomorrow:?}");
        }
    }
}
