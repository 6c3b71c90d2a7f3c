//! What a configuration is read in besides its own text: given, so that reading is the same wherever it happens.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use rustix::process::{Resource, getrlimit};

use crate::health::is_here;

/// Environment variables, what the machine grants and has, and the time.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables that are text.
    pub variables: BTreeMap<String, String>,
    /// How many files the process may have open; none is no limit.
    pub files: Option<u64>,
    /// True if the folders that weir is to write in have to be there.
    pub folders: bool,
    /// Says if an address is one of this machine; none if no address is known to be.
    pub here: Option<fn(&IpAddr) -> bool>,
    /// The time in seconds since 1970, which certificates are judged by.
    pub now: u64,
}

impl Surroundings {
    /// Those of this process, as they are now.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            folders: true,
            here: Some(is_here),
            files: getrlimit(Resource::Nofile).current,
            now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}
