//! The old process, as the new one sees it: what it hands over, and the word to begin.

use std::{
    env,
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use weir_control::config::visible;

use super::{
    Handover, OrdersRecord, PROTOCOL, Said, VARIABLE, Word,
    channel::{Channel, split},
};
use crate::app::Inheritance;

/// How long the old process may take to say something. It says it at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process that is taken over from.
#[derive(Debug)]
pub(crate) struct Ancestor {
    channel: Channel,
}

impl Ancestor {
    /// True if this process was started in order to take over, or by one that was.
    pub(crate) fn is_named() -> bool {
        env::var_os(VARIABLE).is_some()
    }

    /// The process that has started this one in order to be taken over from; none if it was started by anybody else.
    ///
    /// # Errors
    /// If what is handed over cannot be taken.
    pub(crate) fn find() -> Result<Option<(Self, Inheritance)>> {
        let parent = rustix::process::getppid().map(|parent| parent.as_raw_pid().to_string());
        let Ok(named) = env::var(VARIABLE) else { return Ok(None) };
        if parent.as_ref() != Some(&named) {
            // The variable was handed on by somebody who was started so.
            return Ok(None);
        }
        let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let mut ancestor = Self { channel: Channel::new(UnixStream::from(socket))? };
        let inheritance = ancestor.inherit();
        match inheritance {
            Ok(inheritance) => Ok(Some((ancestor, inheritance))),
            Err(error) => {
                ancestor.failed(&error);
                Err(error)
            }
        }
    }

    fn inherit(&mut self) -> Result<Inheritance> {
        let handover = self.channel.receive::<Handover>(PATIENCE, &|| false);
        let handover = handover.map_err(|broken| broken.into_error("the old process"))?;
        let Handover { protocol, sockets, admin, backends, tickets } = handover;
        if protocol != PROTOCOL {
            bail!("the old process hands over in a way that this version does not know ({protocol})");
        }
        let mut files = self.channel.take_files().into_iter();
        let tickets = tickets.into_iter().map(Into::into).collect();
        let mut inheritance = Inheritance { backends, tickets, ..Inheritance::default() };
        for record in sockets {
            inheritance.sockets.push((record.label, split(&mut files, record.count)?));
        }
        if let Some(bound) = admin {
            inheritance.admin = split(&mut files, 1)?.pop().map(|socket| (bound, socket));
        }
        Ok(inheritance)
    }

    /// Says that everything that may go wrong has gone well, and waits for the word to begin. Returns what operators have
    /// set.
    ///
    /// # Errors
    /// If the old process is gone, or has given up.
    pub(crate) fn wait_for_the_word(&mut self) -> Result<Vec<OrdersRecord>> {
        let ready = Said::Ready { version: env!("CARGO_PKG_VERSION").to_owned() };
        let sent = self.channel.send(&ready, &[], PATIENCE, &|| false);
        sent.map_err(|broken| broken.into_error("the old process"))?;
        let word = self.channel.receive(PATIENCE, &|| false);
        let Word::Go { orders } = word.map_err(|broken| broken.into_error("the old process"))?;
        Ok(orders)
    }

    /// Says that this process serves now.
    ///
    /// # Errors
    /// If the old process is gone, or has given up: then this one must not go on beside it.
    pub(crate) fn serving(&self, taken: Vec<String>, admin: bool) -> Result<()> {
        let sent = self.channel.send(&Said::Serving { taken, admin }, &[], PATIENCE, &|| false);
        sent.map_err(|broken| broken.into_error("the old process")).context("nothing was taken over")
    }

    /// Says why this process cannot serve.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        let text = format!("{error:#}").lines().map(visible).collect::<Vec<_>>().join("\n");
        // If the old process is gone, standard error has to do.
        let _ = self.channel.send(&Said::Failed { error: text }, &[], PATIENCE, &|| false);
    }
}
