//! What the system knows of the process, under the names that Prometheus' own libraries use. What cannot be read is
//! left out.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::page::{
    Kind::{Counter, Gauge},
    Page,
};

/// Fields of `/proc/self/stat`, counted from the one behind the program's name.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name stands in parentheses and may hold any character.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    if fields.len() > RESIDENT_PAGES {
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        page.family("process_cpu_seconds", Counter, "Processor time used, in user space and in the kernel.");
        page.sample("_total", &[], seconds(fields[USER_TICKS] + fields[SYSTEM_TICKS]));
        page.family("process_resident_memory_bytes", Gauge, "Memory in use.");
        page.sample("", &[], fields[RESIDENT_PAGES] * page_size() as u64);
        page.family("process_virtual_memory_bytes", Gauge, "Address space in use.");
        page.sample("", &[], fields[VIRTUAL_BYTES]);
        page.family("process_threads", Gauge, "Threads.");
        page.sample("", &[], fields[THREADS]);
        if let Some(boot) = boot_time() {
            page.family(
                "process_start_time_seconds",
                Gauge,
                "When the process started, in seconds since 1970.",
            );
            page.sample("", &[], boot as f64 + seconds(fields[START_TICKS]));
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.family("process_open_fds", Gauge, "Open files and sockets.");
        page.sample("", &[], files.count());
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.family("process_max_fds", Gauge, "Open files and sockets that are allowed.");
        page.sample("", &[], most);
    }
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
