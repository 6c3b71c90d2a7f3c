//! `weir demo`: the real program with a real configuration, and around it, in the same process, all that it needs to
//! be watched: backends, one of which breaks, and clients.
//!
//! ```text
//!  traffic (clients) ──> App (weir, told what the printed configuration says) ──> backends
//!                         │ status, log                                              ^
//!                         v                                                          │ breaks one
//!                        table, events, summary ──> screen                         story
//! ```

mod backends;
mod config;
mod events;
mod introduction;
mod screen;
mod story;
mod summary;
mod table;
mod traffic;

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use weir_model::{
    pool::Backend,
    snapshot::Snapshot,
    status::{BackendStatus, Health},
    time::{Millis, Moment},
};
use weir_proxy::clock;

use crate::{app::App, signals::StopRequests};
use backends::{Backends, ZOMBIE};
use events::Events;
use screen::Screen;
use story::Story;
use summary::{Summary, seconds};
use table::{Over, Table, clip};
use traffic::{Tally, Traffic};

/// How often the demo looks around.
const STEP: Duration = Duration::from_millis(100);
/// From one table to the next: on a terminal, and elsewhere.
const REDRAW: Millis = Millis(500);
const REPRINT: Millis = Millis::secs(2);
/// How often weir may fail to start.
const ATTEMPTS: usize = 3;
/// The first checks take milliseconds; on a machine that is very busy, longer.
const FIRST_CHECKS: Millis = Millis::secs(5);

/// Runs for so long, or until it is told to stop.
pub(crate) fn run(length: Millis, requests: &StopRequests) -> Result<()> {
    match perform(length, requests) {
        // Whoever was reading has seen enough.
        Err(error) if error.downcast_ref().is_some_and(is_broken_pipe) => Ok(()),
        other => other,
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

fn perform(length: Millis, requests: &StopRequests) -> Result<()> {
    let mut screen = Screen::new();
    let backends = Backends::start()?;
    let events = Events::default();
    let (config, app) = start_app(&backends, &events)?;
    screen.print(&introduction::introduction(&config, &app, screen.style))?;
    if screen.is_terminal {
        // Elsewhere the frame, which begins with one, stays.
        screen.print("\n")?;
    }

    let snapshot = app.snapshot();
    wait_for_checks(&snapshot, requests);
    // Being bound and being up is no news any more.
    events.keep_warnings();
    let start = clock::read();
    let traffic = Traffic::start(app.address("web"), app.address("lines"))?;
    let mut show = Show {
        start,
        story: Story::new(start, backends.broken.clone(), zombie(&snapshot)?),
        table: Table::new(snapshot, start),
        events,
        screen,
    };
    show.until(start + length, requests, &traffic)?;
    end(show, app, traffic, requests)
}

/// Starts weir. Ports that were free a moment ago may be taken by now, by another demo for example.
fn start_app(backends: &Backends, events: &Events) -> Result<(String, App)> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let config = config::text(backends)?;
        match App::from_text_with_log(&config, events.sink()) {
            Ok(app) => return Ok((config, app)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no attempt was made")?)
}

/// Clients that came earlier would find nobody.
fn wait_for_checks(snapshot: &Snapshot, requests: &StopRequests) {
    let start = clock::read();
    let is_up = |backend: &Backend| backend.status.health() == Health::Up;
    while !snapshot.pools.iter().flat_map(|pool| &pool.backends).all(is_up)
        && clock::read().since(start) < FIRST_CHECKS
        && requests.count() == 0
    {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Drains, and says what there was to see.
fn end(mut show: Show, app: App, traffic: Traffic, requests: &StopRequests) -> Result<()> {
    let end = clock::read();
    let asked = requests.count();
    show.events.tell("the end: clients begin nothing new, weir finishes what is under way");
    show.tell_events()?;
    show.table.observe(end);
    let snapshot = app.snapshot();
    traffic.begin_nothing_new();
    let cut = app.shutdown(&|| requests.count() > asked);
    let tally = traffic.finish();
    let drained_for = clock::read().since(end);
    show.table.recount();
    show.screen.clear()?;
    show.tell_events()?;
    let Show { start, table, story, mut screen, .. } = show;
    let summary = Summary {
        width: screen.width(),
        start,
        end,
        drained_for,
        cut,
        table: &table,
        tally: &tally,
        chapters: &story.chapters,
        snapshot: &snapshot,
    };
    screen.print(&summary.text(screen.style))?;
    Ok(())
}

/// What is shown while it runs.
struct Show {
    start: Moment,
    story: Story,
    table: Table,
    events: Events,
    screen: Screen,
}

impl Show {
    /// Shows what happens, until then or until it is told to stop.
    fn until(&mut self, end: Moment, requests: &StopRequests, traffic: &Traffic) -> io::Result<()> {
        let every = if self.screen.is_terminal { REDRAW } else { REPRINT };
        let mut next = self.start + every;
        loop {
            let now = clock::read();
            if let Some(news) = self.story.advance(now) {
                self.events.tell(news);
            }
            self.tell_events()?;
            if now >= end || requests.count() > 0 {
                return Ok(());
            }
            if now >= next {
                next = next + every;
                self.draw(now, &traffic.tally())?;
            }
            thread::sleep(STEP.min(end.since(now).duration()));
        }
    }

    fn draw(&mut self, now: Moment, tally: &Tally) -> io::Result<()> {
        self.table.observe(now);
        let (width, style) = (self.screen.width(), self.screen.style);
        let clients = format!("{:>8}  {tally}", seconds(now.since(self.start)));
        let mut frame = vec![String::new(), clip(&clients, width)];
        frame.extend(self.table.lines(Over::Lately, width, style));
        self.screen.draw(frame)
    }

    fn tell_events(&mut self) -> io::Result<()> {
        let events = self.events.take();
        if events.is_empty() {
            return Ok(());
        }
        let lines = events.iter().map(|event| event.text(self.start, self.screen.width(), self.screen.style));
        self.screen.print(&lines.collect::<String>())
    }
}

fn zombie(snapshot: &Snapshot) -> Result<Arc<BackendStatus>> {
    let mut backends = snapshot.pools.iter().flat_map(|pool| &pool.backends);
    let zombie = backends.find(|backend| &*backend.name == ZOMBIE);
    Ok(zombie.context("the configuration has lost its zombie")?.status.clone())
}
