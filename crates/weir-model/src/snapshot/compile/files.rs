//! How many connections the process may hold, from how many files it may open.
//!
//! A connection that is carried to a backend is two files. What else is open (listening sockets, checks, operators) is
//! counted before, so that a limit which is accepted can be reached.

use std::collections::BTreeMap;

use super::address;
use crate::{
    draft::{ConnectionsDraft, Draft, ListenerDraft, PoolDraft, Setting},
    problem::Problem,
};

/// Files of the process as such: standard streams, logs, timers, operators.
const OF_PROCESS: u64 = 64;
/// Files of each worker: what it waits with.
const OF_WORKER: u64 = 8;
/// Fewer connections than these are hardly meant by who says no number.
const FEW: u32 = 100;
/// Files of one connection: the client's and the backend's.
const OF_CONNECTION: u64 = 2;

/// What the file limit allows.
#[derive(Debug)]
pub(super) struct Room {
    /// How many files there may be; none is no limit.
    files: Option<u64>,
    /// How many of them are for other things than connections.
    reserve: u64,
    /// Connections of the process as a whole; `u32::MAX` is no limit.
    pub(super) connections: u32,
}

impl Room {
    /// What remains for connections of a process with so many workers.
    pub(super) fn new(
        draft: &Draft,
        pools: &[PoolDraft],
        listeners: &BTreeMap<&str, &ListenerDraft>,
        workers: usize,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let workers = workers as u64;
        let texts = listeners.values().flat_map(|listener| &listener.binds);
        let binds: usize = texts.map(|text| address::binds(text).map_or(0, |binds| binds.len())).sum();
        let is_checked = |pool: &&PoolDraft| pool.health.as_ref().is_some_and(|health| !health.off);
        let checked = pools.iter().filter(is_checked).map(|pool| pool.backends.len());
        let checks = checked.sum::<usize>() as u64;
        // Each worker has a socket of its own for every bind, and the process keeps a second handle of it.
        let sockets = binds as u64 * workers * 2;
        let reserve = OF_PROCESS + OF_WORKER * workers + sockets + checks;
        let room = Self { files: draft.machine.files, reserve, connections: u32::MAX };
        let connections = room.of_process(&draft.process.connections, problems);
        Self { connections, ..room }
    }

    fn of_process(&self, setting: &Setting<ConnectionsDraft>, problems: &mut Vec<Problem>) -> u32 {
        let most = self.most();
        match setting.as_ref().map(|setting| (setting.value, setting.span)) {
            Some((ConnectionsDraft::Count(count), span)) => {
                if count > most {
                    problems.push(self.too_many(count, "limits.connections").at(span));
                }
                count
            }
            Some((ConnectionsDraft::None, span)) => {
                let remedy = "write `auto` for as many as the file limit allows, or a number";
                problems.push(Problem::error(span, "the process as a whole always has a limit", remedy));
                most
            }
            Some((ConnectionsDraft::Auto, _)) | None => {
                if most == 0 {
                    problems.push(self.no_room());
                } else if most < FEW {
                    problems.push(self.little_room(most));
                }
                most
            }
        }
    }

    /// Connections of one listener; `u32::MAX` is no limit of its own.
    pub(super) fn of_listener(
        &self,
        setting: &Setting<ConnectionsDraft>,
        problems: &mut Vec<Problem>,
    ) -> u32 {
        let Some(setting) = setting else { return self.connections };
        match setting.value {
            ConnectionsDraft::Auto => self.connections,
            ConnectionsDraft::None => u32::MAX,
            ConnectionsDraft::Count(count) => {
                if count > self.most() {
                    problems.push(self.too_many(count, "max_connections").at(setting.span));
                } else if count > self.connections {
                    let cause = format!(
                        "this listener may have {count} connections, but the process as a whole {} \
                         (`limits.connections`)",
                        self.connections
                    );
                    problems.push(Problem::warning(setting.span, cause, "lower this one or raise the other"));
                }
                count
            }
        }
    }

    /// The most connections that the file limit allows; `u32::MAX` without one.
    fn most(&self) -> u32 {
        let free = |files: u64| {
            u32::try_from(files.saturating_sub(self.reserve) / OF_CONNECTION).unwrap_or(u32::MAX)
        };
        self.files.map_or(u32::MAX, free)
    }

    fn too_many(&self, count: u32, key: &str) -> Problem {
        let need = u64::from(count) * OF_CONNECTION + self.reserve;
        let cause = format!(
            "{count} connections need {need} files (two each, and {} for other things), but the process may open \
             only {}",
            self.reserve,
            self.files.unwrap_or(u64::MAX)
        );
        let remedy = format!("{}, or write `{key}: auto`, which is {} here", raise(need), self.most());
        Problem::error(crate::problem::Span::default(), cause, remedy)
    }

    fn little_room(&self, most: u32) -> Problem {
        let cause = format!(
            "the process may open only {} files, which is enough for {most} connections (two each, and {} for other things)",
            self.files.unwrap_or_default(),
            self.reserve
        );
        let remedy =
            format!("{}, or write `limits.connections` if so few are meant", raise(self.reserve + 1000));
        Problem::warning(crate::problem::Span::default(), cause, remedy)
    }

    fn no_room(&self) -> Problem {
        let cause = format!(
            "the process may open only {} files, and needs {} before the first connection",
            self.files.unwrap_or_default(),
            self.reserve
        );
        Problem::error(crate::problem::Span::default(), cause, raise(self.reserve + 1000))
    }
}

fn raise(files: u64) -> String {
    format!("raise the limit to {files} (`ulimit -n {files}`, or `LimitNOFILE={files}` in a systemd unit)")
}
