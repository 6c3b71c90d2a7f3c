//! CPU time per request, contestants in short turns: each has a wrk of its own that is suspended but for its turns.
//!
//! The speed of a machine that is shared with others changes from second to second, and all that has run seconds apart is
//! hard to compare. Turns of a tenth of a second see the same machine, and a hundred rounds of them take a minute or two.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    contestant::{Backend, Contestant, RELAY},
    interval::Interval,
    machine::{self, Family},
    probe::Client,
    report::{Row, Spread, print_table},
    saturation, wrk,
};
use crate::process;

/// How long a wrk runs when it is started: its connections are opened, and those to the backends.
const WARM_UP: Duration = Duration::from_millis(500);
/// From the start of a turn until it counts: by then requests are under way on all connections.
const RUN_UP: Duration = Duration::from_millis(30);
/// The part of a turn that counts.
const TURN: Duration = Duration::from_millis(100);
/// After a turn: requests that are still under way are answered before the next turn counts.
const PAUSE: Duration = Duration::from_millis(5);
/// A wrk ends by itself when the turns take that many times as long as they should.
const GENEROUS: u32 = 5;

/// All turns at one number of connections.
pub(super) struct Turns {
    connections: usize,
    names: Vec<&'static str>,
    /// CPU time of the balancer per request, by contestant, then round.
    micros: Vec<Vec<f64>>,
    /// Rounds that were run again, and why.
    void: Vec<String>,
}

/// One who takes turns.
struct Player<'c> {
    contestant: &'c Contestant,
    family: Family,
    client: wrk::Suspended,
}

/// Runs the rounds; none if none are asked for.
pub(super) fn run(
    contestants: &[Contestant],
    backend: &Backend,
    connections: usize,
    rounds: usize,
) -> Result<Option<Turns>> {
    if rounds == 0 {
        return Ok(None);
    }
    // What this process does must not keep the balancer from its CPU.
    let _pinned = machine::Pinned::to(machine::CLIENTS)?;
    let players = players(contestants, connections, rounds)?;
    let mut counter = Client::connect(backend.address)?;
    let mut micros: Vec<Vec<f64>> = players.iter().map(|_| Vec::with_capacity(rounds)).collect();
    let mut order: Vec<usize> = (0..players.len()).collect();
    let mut dice = Dice(1);
    let mut void = Vec::new();
    for round in 1..=rounds {
        dice.shuffle(&mut order);
        let figures = self::round(&players, &order, &mut counter, &mut void)?;
        micros.iter_mut().zip(figures).for_each(|(micros, figure)| micros.push(figure));
        if round % 10 == 0 || round == rounds {
            eprintln!("{connections} connections, turns: {round} of {rounds} rounds");
        }
    }
    finish(players, connections)?;
    let names = contestants.iter().map(|contestant| contestant.spec.name).collect();
    Ok(Some(Turns { connections, names, micros, void }))
}

/// One turn of everybody, by contestant. A machine may stand still for longer than a turn: the round is run again then.
fn round(
    players: &[Player<'_>],
    order: &[usize],
    counter: &mut Client,
    void: &mut Vec<String>,
) -> Result<Vec<f64>> {
    for _ in 0..saturation::VOID_ROUNDS {
        let mut figures = vec![f64::NAN; players.len()];
        let mut idle = None;
        for index in order {
            let player = &players[*index];
            match player.turn(counter).with_context(|| format!("a turn of {}", player.name()))? {
                Some(figure) => figures[*index] = figure,
                None => idle = Some(player.name()),
            }
        }
        let Some(name) = idle else { return Ok(figures) };
        println!("void round of turns: no request of {name} arrived");
        void.push(format!("{name}: no request arrived"));
    }
    let words = players.iter().map(|player| format!("{}: {}", player.name(), player.contestant.last_words()));
    let words: Vec<_> = words.collect();
    bail!("{} void rounds of turns in a row; said last: {}", saturation::VOID_ROUNDS, words.join("; "))
}

/// Starts a wrk for each contestant, one after the other, so that none takes the warm-up of another.
fn players(contestants: &[Contestant], connections: usize, rounds: usize) -> Result<Vec<Player<'_>>> {
    let turns = u32::try_from(rounds * contestants.len()).context("too many turns")?;
    let most = (RUN_UP + TURN + PAUSE) * turns * GENEROUS + Duration::from_secs(60);
    let start = |contestant: &'_ Contestant| {
        let folder = process::folder(&format!("wrk of {}", contestant.spec.name))?;
        let url = contestant.spec.url();
        wrk::Suspended::start(&url, connections, WARM_UP, most, &folder)
    };
    contestants
        .iter()
        .map(|contestant| {
            let client = start(contestant)?;
            // After the warm-up, when the balancer has all its processes.
            Ok(Player { contestant, family: Family::of(contestant.pid()), client })
        })
        .collect()
}

/// Ends every wrk and fails if one of them got anything but the right answers.
fn finish(players: Vec<Player<'_>>, connections: usize) -> Result<()> {
    let mut void = Vec::new();
    for player in players {
        let (name, bytes) = (player.name(), player.contestant.response_bytes);
        let load = player.client.finish().with_context(|| format!("the client of {name}"))?;
        if let Some(reason) = load.void(connections, bytes) {
            println!("void turns of {name}: {reason}");
            void.push(name);
        }
    }
    if !void.is_empty() {
        bail!("the turns at {connections} connections are void for {}", void.join(", "));
    }
    Ok(())
}

impl Player<'_> {
    fn name(&self) -> &'static str {
        self.contestant.spec.name
    }

    /// Microseconds of CPU time per request in one turn, unless there was no request.
    fn turn(&self, counter: &mut Client) -> Result<Option<f64>> {
        self.client.resume()?;
        sleep(RUN_UP);
        let (requests_before, time_before) = self.read(counter)?;
        sleep(TURN);
        let (requests_after, time_after) = self.read(counter)?;
        self.client.suspend()?;
        sleep(PAUSE);
        // The second reading has counted itself. The health checks of all contestants together are a handful of requests
        // per second, beside thousands: they are not taken off.
        let requests = requests_after.saturating_sub(requests_before).saturating_sub(1);
        let micros = (time_after - time_before).as_secs_f64() * 1e6;
        Ok((requests > 0).then(|| micros / requests as f64))
    }

    /// Requests that the backend has seen, and the balancer's CPU time. The backend may be slow to answer, but it counts
    /// just before it does: the CPU time is read right after that, and both are of the same moment.
    fn read(&self, counter: &mut Client) -> Result<(u64, Duration)> {
        let requests = requests(counter.ask("/status")?)?;
        Ok((requests, self.family.cpu_time()?))
    }
}

/// The number of requests in nginx's status: the third below "server accepts handled requests".
fn requests(status: &str) -> Result<u64> {
    let mut lines =
        status.lines().skip_while(|line| !line.ends_with("requests ") && !line.ends_with("requests"));
    let number = lines.nth(1).and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
    number.with_context(|| format!("the backend's status has no number of requests: {status}"))
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Puts the contestants into another order, so that none always runs after the same one.
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            let choice = self.next() % (last as u64 + 1);
            order.swap(last, usize::try_from(choice).unwrap_or(last));
        }
    }
}

impl Turns {
    /// weir's CPU time as a share of each peer's, with the goal.
    fn ratios(&self) -> Vec<(String, Interval, f64)> {
        let judged =
            |(weir, peer, goal)| Some((format!("{weir} / {peer}: CPU"), self.ratio(weir, peer)?, goal));
        saturation::goals(self.connections).into_iter().filter_map(judged).collect()
    }

    /// The CPU time of one as a share of the other's.
    fn ratio(&self, one: &str, other: &str) -> Option<Interval> {
        let of = |name| self.names.iter().zip(&self.micros).find(|(candidate, _)| **candidate == name);
        let ((_, one), (_, other)) = (of(one)?, of(other)?);
        Some(Interval::of(one.iter().zip(other).map(|(one, other)| one / other)))
    }

    /// The relay's CPU time as a share of everybody's: nobody who reads and writes as it does can go below.
    fn floors(&self) -> impl Iterator<Item = (&'static str, Interval)> {
        let others = self.names.iter().filter(|name| **name != RELAY);
        others.filter_map(|name| Some((*name, self.ratio(RELAY, name)?)))
    }

    pub(super) fn print(&self) {
        let rounds = self.micros.first().map_or(0, Vec::len);
        let title = format!("in turns of {TURN:?}, {} connections, {rounds} rounds", self.connections);
        let rows = self.names.iter().zip(&self.micros).map(|(name, micros)| {
            let Spread { least, median, most } = Spread::of(micros.iter().copied());
            Row(vec![(*name).to_owned(), format!("{median:.2}"), format!("{least:.2}–{most:.2}")])
        });
        print_table(&title, &["", "CPU µs/request", "min–max"], rows);
        let ratios = self.ratios();
        if ratios.is_empty() {
            return;
        }
        let rows = ratios.iter().map(|(what, interval, goal)| {
            Row(vec![
                what.clone(),
                format!("{:.3}", interval.median),
                format!("{:.3}–{:.3}", interval.low, interval.high),
                format!("≤ {goal}"),
                interval.judge(*goal).word().to_owned(),
            ])
        });
        print_table("median of the ratios per round of turns", &["", "median", "95 %", "goal", ""], rows);
        println!("  even: the goal lies within the interval, and these turns cannot tell the ratio from it");
        let rows = self.floors().map(|(name, interval)| {
            let Interval { low, median, high } = interval;
            Row(vec![name.to_owned(), format!("{median:.3}"), format!("{low:.3}–{high:.3}")])
        });
        print_table(
            "the bare relay's share: what reading and writing alone takes",
            &["", "median", "95 %"],
            rows,
        );
    }

    pub(super) fn json(&self) -> Value {
        let contestants = self
            .names
            .iter()
            .zip(&self.micros)
            .map(|(name, micros)| json!({ "name": name, "cpu_us_per_request": micros }));
        let ratios = self.ratios();
        let ratios = ratios.iter().map(|(what, interval, goal)| interval.json(what, *goal));
        let floors = self.floors().map(
            |(name, Interval { low, median, high })| json!({ "of": name, "median": median, "low": low, "high": high }),
        );
        json!({
            "contestants": contestants.collect::<Vec<_>>(),
            "ratios": ratios.collect::<Vec<_>>(),
            "bare_relay": floors.collect::<Vec<_>>(),
            "void_rounds": self.void,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Dice, requests};

    #[test]
    fn the_status_is_read() {
        let status = "Active connections: 2 \nserver accepts handled requests\n 31 30 4711 \nReading: 0 Writing: 1 Waiting: 1 \n";
        assert_eq!(requests(status).unwrap(), 4711);
        assert!(requests("Active connections: 2 \n").is_err());
    }

    #[test]
    fn every_contestant_is_in_every_place() {
        let mut order: Vec<usize> = (0..7).collect();
        let mut dice = Dice(1);
        let mut places = [[0; 7]; 7];
        for _ in 0..100 {
            dice.shuffle(&mut order);
            order.iter().enumerate().for_each(|(place, who)| places[place][*who] += 1);
        }
        assert!(places.iter().flatten().all(|count| *count > 0));
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    }
}
