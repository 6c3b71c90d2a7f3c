//! Backends that a real name server and a real container engine know: they change, fail and vanish under load, and no client
//! may notice.

pub(super) mod containers;
pub(super) mod names;

use std::{net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{clients::curl, kill::Count, weir};
use crate::process::{Running, free_address};

/// A weir whose pool `app` has these keys, and what it says of itself.
struct Scene {
    weir: Running,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Scene {
    fn start(program: &Path, name: &str, pool: &str) -> Result<Self> {
        let (web, admin) = (free_address()?, free_address()?);
        let configuration = format!(
            "admin: {{ bind: \"{admin}\" }}\nlisteners:\n  web:\n    bind: {web}\n    protocol: http\n    routes:\n      \
             - {{ pool: app, response_headers: {{ set: {{ X-Backend: $backend }} }} }}\npools:\n  app: {{ {pool} }}\n\
             shutdown: {{ announce: 100ms, drain: 10s }}\n"
        );
        Ok(Self { weir: weir(program, name, &configuration)?, web, admin })
    }

    /// The pool as the status shows it.
    fn pool(&self) -> Result<Value> {
        let status = curl(&[&format!("http://{}/api/status", self.admin)], None)?;
        Ok(serde_json::from_str::<Value>(&status)?["pools"][0].take())
    }

    /// Waits until the pool has these backends, in any order.
    fn has(&self, wanted: &[String]) -> Result<()> {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        self.weir.ready(|| {
            let pool = self.pool()?;
            let backends = pool["backends"].as_array().into_iter().flatten();
            let mut names: Vec<_> = backends.filter_map(|backend| backend["name"].as_str()).collect();
            names.sort_unstable();
            ensure!(names == wanted, "the backends are {names:?} and not {wanted:?}: {}", pool["discovery"]);
            Ok(())
        })
    }

    /// Waits until another question has failed with these words.
    fn fails(&self, words: &str) -> Result<()> {
        let before = self.weir.ready(|| self.pool())?;
        let before = before["discovery"]["failures"].as_u64().unwrap_or_default();
        self.weir.ready(|| {
            let discovery = self.pool()?["discovery"].take();
            let failures = discovery["failures"].as_u64().unwrap_or_default();
            let error = discovery["last_error"].as_str().unwrap_or_default();
            ensure!(failures > before && error.contains(words), "no failure says `{words}`: {discovery}");
            Ok(())
        })
    }
}

/// Fails unless each of so many backends answered and no request failed.
fn nothing_failed(scene: &Scene, count: &Count, backends: usize) -> Result<String> {
    let failed = count.failures.len();
    let sentence = format!("{} requests, {failed} failed; by backend {:?}", count.requests, count.by_backend);
    let words = || scene.weir.last_words();
    ensure!(failed == 0, "{sentence}, among them: {:?}; {}", &count.failures[..failed.min(5)], words());
    ensure!(count.by_backend.len() == backends, "{sentence}: {backends} should have answered");
    Ok(sentence)
}
