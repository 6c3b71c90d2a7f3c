//! What the kernel knows about a process: CPU time, memory, children; and where it may run.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{Pid, Resource, Rlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The balancer's CPU.
pub(crate) const BALANCER: usize = 0;
/// The CPU of clients and backends.
pub(crate) const CLIENTS: usize = 1;

/// Lets this process have as many open files as the machine allows, and returns the number.
pub(crate) fn raise_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Confines a thread (or this one) to a CPU.
pub(crate) fn pin(thread: Option<u32>, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    let thread = thread.and_then(|thread| Pid::from_raw(thread.cast_signed()));
    sched_setaffinity(thread, &set).with_context(|| format!("cannot pin to CPU {cpu}"))
}

/// This thread is confined to a CPU for as long as this is kept; what it starts later may run anywhere again.
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    pub(crate) fn to(cpu: usize) -> Result<Self> {
        let before = sched_getaffinity(None).context("where this thread may run is not known")?;
        pin(None, cpu)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before, so it is now.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Confines every thread of a process and of its children to a CPU.
pub(crate) fn pin_process(process: u32, cpu: usize) -> Result<()> {
    for process in family(process) {
        for thread in threads(process) {
            pin(Some(thread), cpu)?;
        }
    }
    Ok(())
}

/// CPU time that a process and its children have used so far.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    Family::of(process).cpu_time()
}

/// A process and its children, looked for once. To find them takes milliseconds on a machine with many processes, too
/// long beside a turn.
pub(crate) struct Family(Vec<u32>);

impl Family {
    /// Those that there are now.
    pub(crate) fn of(process: u32) -> Self {
        Self(family(process))
    }

    /// CPU time that they have used so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let mut sum = 0;
        for process in &self.0 {
            for thread in threads(*process) {
                let file = format!("/proc/{process}/task/{thread}/schedstat");
                let text = fs::read_to_string(&file).with_context(|| format!("{file} cannot be read"))?;
                let nanoseconds: u64 = text.split(' ').next().unwrap_or_default().parse().context(file)?;
                sum += nanoseconds;
            }
        }
        if sum == 0 {
            let processes = &self.0;
            bail!(
                "processes {processes:?} used no CPU time: they are gone, or the kernel keeps no schedstat"
            );
        }
        Ok(Duration::from_nanos(sum))
    }
}

/// Bytes of memory that a process and its children hold.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let mut sum = 0;
    for process in family(process) {
        let file = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&file).with_context(|| format!("{file} cannot be read"))?;
        let line = text.lines().find(|line| line.starts_with("Rss:")).context("no Rss in smaps_rollup")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("no number after Rss")?.parse()?;
        sum += kilobytes * 1024;
    }
    Ok(sum)
}

/// A process and all its descendants.
fn family(process: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers("/proc").filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![process];
    let mut next = 0;
    while let Some(member) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold spaces; state and parent follow the last one.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn threads(process: u32) -> impl Iterator<Item = u32> {
    numbers(&format!("/proc/{process}/task"))
}

fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
