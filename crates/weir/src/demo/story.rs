//! What befalls the zombie, and what weir made of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use weir_model::{
    status::{BackendStatus, Health},
    time::{Millis, Moment},
};

/// When it breaks and when it is repaired, counted from the start; and after how long that begins again.
const BREAKS: Millis = Millis::secs(3);
const REPAIRED: Millis = Millis::secs(12);
const AGAIN: Millis = Millis::secs(30);

/// One time that it broke.
#[derive(Debug, Clone)]
pub(super) struct Chapter {
    pub(super) broke: Moment,
    /// When weir took it out, and why.
    pub(super) out: Option<(Moment, Arc<str>)>,
    pub(super) repaired: Option<Moment>,
    /// When weir let it have traffic again.
    pub(super) back: Option<Moment>,
}

/// The zombie's fate so far.
#[derive(Debug)]
pub(super) struct Story {
    start: Moment,
    broken: Arc<AtomicBool>,
    zombie: Arc<BackendStatus>,
    pub(super) chapters: Vec<Chapter>,
}

impl Story {
    pub(super) const fn new(start: Moment, broken: Arc<AtomicBool>, zombie: Arc<BackendStatus>) -> Self {
        Self { start, broken, zombie, chapters: Vec::new() }
    }

    /// Lets happen what is due, and says what that was. Notes down what weir has done.
    pub(super) fn advance(&mut self, now: Moment) -> Option<&'static str> {
        self.observe();
        let broken = is_broken(now.since(self.start));
        if self.broken.swap(broken, Ordering::Relaxed) == broken {
            return None;
        }
        if broken {
            self.chapters.push(Chapter { broke: now, out: None, repaired: None, back: None });
            return Some("app-zombie breaks: its port stays open, but every answer is now 500");
        }
        if let Some(chapter) = self.chapters.last_mut() {
            chapter.repaired = Some(now);
        }
        Some("app-zombie is repaired")
    }

    fn observe(&mut self) {
        let Some(chapter) = self.chapters.last_mut() else { return };
        let health = self.zombie.health();
        let changed = self.zombie.changed_at();
        if chapter.out.is_none() && health == Health::Down {
            chapter.out = Some((changed, self.zombie.reason()));
        } else if chapter.repaired.is_some() && chapter.back.is_none() && health == Health::Up {
            chapter.back = chapter.out.is_some().then_some(changed);
        }
    }
}

fn is_broken(elapsed: Millis) -> bool {
    let within = Millis(elapsed.0 % AGAIN.0);
    (BREAKS..REPAIRED).contains(&within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_breaks_is_taken_out_is_repaired_and_comes_back() {
        let zombie = Arc::new(BackendStatus::new(1, Health::Up));
        let broken = Arc::new(AtomicBool::new(false));
        let start = Moment(500);
        let at = |seconds| start + Millis::secs(seconds);
        let mut story = Story::new(start, broken.clone(), zombie.clone());
        assert!(story.advance(at(2)).is_none() && !broken.load(Ordering::Relaxed));
        assert!(story.advance(at(3)).is_some() && broken.load(Ordering::Relaxed));
        zombie.set_health(Health::Down, "answered 500", at(5));
        assert!(story.advance(at(6)).is_none());
        assert!(story.advance(at(12)).is_some() && !broken.load(Ordering::Relaxed));
        zombie.set_health(Health::Up, "answered 200", at(14));
        assert!(story.advance(at(32)).is_none());
        assert!(story.advance(at(33)).is_some());
        let [first, second] = &story.chapters[..] else { panic!("{:?}", story.chapters) };
        assert_eq!((first.broke, first.repaired, first.back), (at(3), Some(at(12)), Some(at(14))));
        assert_eq!(first.out, Some((at(5), "answered 500".into())));
        assert_eq!((second.broke, second.out.is_some()), (at(33), false));
    }
}
