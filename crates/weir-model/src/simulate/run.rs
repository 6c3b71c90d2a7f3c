//! The events of one run: requests come, are worked on, and end.

use std::{
    cell::Cell,
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use super::{
    machine::{Machine, Trouble, Work},
    outcome::Outcome,
    workload::Request,
};
use crate::{
    balance::{Ask, Balance, Balancer, EligibleSet, HashTable, Loads, Member, Seed},
    time::Moment,
};

/// The machines, and who balances over them.
#[derive(Clone, Debug)]
pub struct Model {
    /// In the order of the pool.
    pub machines: Vec<Machine>,
    /// Workers that balance, each by itself; requests are spread over them by lot.
    pub workers: usize,
    /// What is left to chance.
    pub seed: u64,
}

/// What balancers see of the machines.
struct World {
    work: Vec<Work>,
    active: Vec<Cell<u32>>,
    most: Vec<u32>,
    total: Cell<u32>,
}

impl World {
    fn count(&self, machine: usize, change: impl Fn(u32) -> u32) {
        self.active[machine].set(change(self.active[machine].get()));
        self.total.set(change(self.total.get()));
    }
}

impl Loads for World {
    fn active(&self, backend: usize) -> u32 {
        self.active[backend].get()
    }

    fn is_full(&self, backend: usize) -> bool {
        self.active[backend].get() >= self.most[backend]
    }

    fn latency(&self, backend: usize, now: Moment) -> Option<f32> {
        self.work[backend].latency.at(now)
    }

    fn total(&self) -> u32 {
        self.total.get()
    }
}

/// A request that is being worked on: when it ends, which it is, its machine, and whether it fails.
type Ending = Reverse<(u64, usize, usize, bool)>;

/// The balancers of all workers.
struct Balancers {
    workers: Vec<(Balancer, Seed)>,
    set: EligibleSet,
    /// Who gets which request.
    spread: Seed,
}

impl Balancers {
    fn new(model: &Model, balance: &Balance) -> Self {
        let named = model.machines.iter().map(|machine| (machine.name.clone(), machine.weight)).collect();
        let table = HashTable::new(balance.policy, named).map(Arc::new);
        let worker = |index: usize| {
            let seed = model.seed ^ (index as u64 + 1) << 32;
            (Balancer::new(balance, table.as_ref(), index as u64), Seed::new(seed))
        };
        let workers = (0..model.workers.max(1)).map(worker).collect();
        Self { workers, set: EligibleSet::default(), spread: Seed::new(!model.seed) }
    }

    /// Those machines may be chosen that are there at this time.
    fn prepare(&mut self, machines: &[Machine], now: u64) {
        let here = |machine: &Machine| !matches!(machine.trouble, Trouble::StartsAt(at) if now < at);
        let members = machines.iter().enumerate().filter(|(_, machine)| here(machine));
        self.set =
            EligibleSet::new(members.map(|(backend, machine)| Member { backend, weight: machine.weight }));
        self.workers.iter_mut().for_each(|(balancer, _)| balancer.prepare(&self.set));
    }

    fn pick(&mut self, key: u64, now: u64, world: &World) -> Option<usize> {
        let worker = self.spread.below(self.workers.len() as u64) as usize;
        let (balancer, seed) = &mut self.workers[worker];
        let ask = Ask { hash: key, tried: &[], now: Moment(now / 1000) };
        let index = balancer.pick(&self.set, &ask, world, seed)?;
        Some(self.set.members()[index].backend)
    }
}

/// Runs these requests, which are in the order of their times, under one policy.
pub fn run(model: &Model, requests: &[Request], balance: &Balance) -> Outcome {
    let mut running = Running::new(model, requests, balance);
    for (number, request) in requests.iter().enumerate() {
        running.end_until(request.at);
        while running.starts.pop_if(|at| *at <= request.at).is_some() {
            running.balancers.prepare(&model.machines, request.at);
        }
        if !running.place(number, request.at) {
            running.waiting.push_back(number);
        }
    }
    running.end_until(u64::MAX);
    running.outcome.finish(running.waiting.len());
    running.outcome
}

/// One run under way.
struct Running<'m> {
    machines: &'m [Machine],
    requests: &'m [Request],
    world: World,
    balancers: Balancers,
    /// When machines come that are not there from the start, the next one last.
    starts: Vec<u64>,
    ends: BinaryHeap<Ending>,
    /// Requests that no machine may take yet, because all are full.
    waiting: VecDeque<usize>,
    outcome: Outcome,
}

impl<'m> Running<'m> {
    fn new(model: &'m Model, requests: &'m [Request], balance: &Balance) -> Self {
        let machines = &model.machines[..];
        let mut balancers = Balancers::new(model, balance);
        balancers.prepare(machines, 0);
        let start = |machine: &Machine| match machine.trouble {
            Trouble::StartsAt(at) => Some(at),
            Trouble::None | Trouble::FailsFrom(_) => None,
        };
        let mut starts: Vec<u64> = machines.iter().filter_map(start).collect();
        starts.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            machines,
            requests,
            world: World {
                work: machines.iter().map(|_| Work::default()).collect(),
                active: machines.iter().map(|_| Cell::new(0)).collect(),
                most: machines.iter().map(|machine| machine.max_connections).collect(),
                total: Cell::new(0),
            },
            balancers,
            starts,
            ends: BinaryHeap::new(),
            waiting: VecDeque::new(),
            outcome: Outcome::new(balance.policy, machines),
        }
    }

    /// Gives a request to a machine; false if none may take it.
    fn place(&mut self, number: usize, now: u64) -> bool {
        let key = self.requests[number].key;
        let Some(machine) = self.balancers.pick(key, now, &self.world) else { return false };
        self.outcome.chosen(machine);
        self.world.count(machine, |active| active + 1);
        let work = &mut self.world.work[machine];
        if work.busy < self.machines[machine].concurrency {
            self.begin(machine, number, now);
        } else {
            work.queue.push_back(number);
        }
        true
    }

    fn begin(&mut self, machine: usize, number: usize, now: u64) {
        let work = self.requests[number].work;
        let (takes, fails) = self.world.work[machine].begin(&self.machines[machine], work, now);
        self.ends.push(Reverse((now + takes, number, machine, fails)));
    }

    /// Ends what is due until this time, and begins what has waited for it.
    fn end_until(&mut self, until: u64) {
        while let Some(Reverse((now, number, machine, failed))) = self.ends.peek().copied() {
            if now > until {
                return;
            }
            self.ends.pop();
            let took = now - self.requests[number].at;
            self.outcome.ended(took, failed);
            self.world.count(machine, |active| active - 1);
            let work = &mut self.world.work[machine];
            work.learn(took, failed, now);
            work.busy -= 1;
            if let Some(next) = work.queue.pop_front() {
                self.begin(machine, next, now);
            }
            while let Some(next) = self.waiting.front().copied() {
                if !self.place(next, now) {
                    break;
                }
                self.waiting.pop_front();
            }
        }
    }
}
