//! The new process, as the old one sees it: started, heard, and ended if it does not come to serve.

use std::{
    fmt::Write as _,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use weir_control::trouble::Trouble;

use super::{
    Handover, OrdersRecord, PROTOCOL, Program, Said, VARIABLE, Word,
    channel::{Broken, Channel},
};

/// How long the new process is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until it has read its configuration and started its threads.
    pub(crate) to_be_ready: Duration,
    /// From there to its first accept.
    pub(crate) to_serve: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { to_be_ready: Duration::from_secs(60), to_serve: Duration::from_secs(15) }
    }
}

/// How long a process that was ended may take to be gone.
const TO_BE_GONE: Duration = Duration::from_secs(5);

/// A process that is to take over. It is ended if this is dropped before it serves.
#[derive(Debug)]
pub(crate) struct Heir {
    child: Option<Child>,
    channel: Channel,
    patience: Patience,
    /// Its version, once it is known.
    version: String,
}

/// What it has taken over.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// Labels of the sockets that it keeps.
    pub(crate) sockets: Vec<String>,
    /// The admin socket is its own.
    pub(crate) admin: bool,
}

impl Heir {
    /// Starts a program, and hands over.
    ///
    /// # Errors
    /// Why it does not get that far.
    pub(crate) fn start(
        program: &Program,
        handover: &Handover,
        files: &[BorrowedFd<'_>],
        patience: Patience,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Self, Trouble> {
        let path = program.path.display();
        let cannot = |error: std::io::Error| {
            Trouble::new(
                format!("`{path}` cannot be started: {error}"),
                "see that the program is there and may be run",
            )
        };
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        let channel = Channel::new(ours).map_err(cannot)?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        command.env(VARIABLE, std::process::id().to_string());
        // What the service manager said was for this process.
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(cannot)?;
        // Its end of the channel is its own now: when it ends, that is noticed.
        drop(command);
        let mut heir = Self { child: Some(child), channel, patience, version: String::new() };
        match heir.channel.send(handover, files, patience.to_be_ready, given_up) {
            Ok(()) => Ok(heir),
            Err(broken) => Err(heir.failed(broken, patience.to_be_ready)),
        }
    }

    /// Waits until it can serve, gives it the word, and waits until it serves. `orders` says what operators have set, when that
    /// is due.
    ///
    /// # Errors
    /// Why it does not serve.
    pub(crate) fn take_over(
        mut self,
        orders: impl FnOnce() -> Vec<OrdersRecord>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Taken, Trouble> {
        let Patience { to_be_ready, to_serve } = self.patience;
        match self.channel.receive(to_be_ready, given_up) {
            Ok(Said::Ready { version }) => self.version = version,
            Ok(Said::Failed { error }) => return Err(self.refused(&error)),
            Ok(Said::Serving { .. }) => {
                return Err(self.failed(Broken::Wrong(anyhow::anyhow!("too early")), to_be_ready));
            }
            Err(broken) => return Err(self.failed(broken, to_be_ready)),
        }
        if let Err(broken) = self.channel.send(&Word::Go { orders: orders() }, &[], to_serve, given_up) {
            return Err(self.failed(broken, to_serve));
        }
        match self.channel.receive(to_serve, given_up) {
            Ok(Said::Serving { taken, admin }) => Ok(self.released(taken, admin)),
            Ok(Said::Failed { error }) => Err(self.refused(&error)),
            Ok(Said::Ready { .. }) => {
                Err(self.failed(Broken::Wrong(anyhow::anyhow!("twice ready")), to_serve))
            }
            Err(broken) => Err(self.failed(broken, to_serve)),
        }
    }

    /// It is on its own from now on, but for one thing: while this process lives, it has to be waited for.
    fn released(mut self, sockets: Vec<String>, admin: bool) -> Taken {
        let mut pid = 0;
        if let Some(mut child) = self.child.take() {
            pid = child.id();
            let waiting = thread::Builder::new().name("weir-heir".to_owned());
            // Without it, what is left of the new process lasts until this one ends, which harms nobody.
            let _ = waiting.spawn(move || child.wait());
        }
        Taken { pid, version: std::mem::take(&mut self.version), sockets, admin }
    }

    /// It has said itself why it cannot serve.
    fn refused(&mut self, error: &str) -> Trouble {
        self.end();
        Trouble::new(
            format!("the new process cannot serve: {}", error.trim()),
            "this process goes on; correct it and try again",
        )
    }

    /// `waited` is how long it was waited for, if that was too long.
    fn failed(&mut self, broken: Broken, waited: Duration) -> Trouble {
        let remedy = "this process goes on; the log says more if the new one has said anything";
        let cause = match broken {
            Broken::Gone => match self.end() {
                Some(status) => format!("the new process ended before it could serve: {}", how(status)),
                None => "the new process went away before it could serve".to_owned(),
            },
            Broken::Late => {
                self.end();
                format!("the new process did not serve within {} s", waited.as_secs_f32())
            }
            Broken::GivenUp => {
                self.end();
                return Trouble::new("weir is shutting down", "");
            }
            Broken::Wrong(error) => {
                self.end();
                format!("the new process speaks another language: {error:#}")
            }
        };
        Trouble::new(cause, remedy)
    }

    /// Ends it, and says how it ended if it did so by itself.
    fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let begun = Instant::now();
        // One whose end of the channel is gone is about to end.
        while begun.elapsed() < Duration::from_millis(500) {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        while begun.elapsed() < TO_BE_GONE && matches!(child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        self.end();
    }
}

impl Handover {
    /// What is handed over, in the language of this version.
    pub(crate) const fn new(
        sockets: Vec<super::SocketRecord>,
        admin: Option<String>,
        backends: Vec<super::BackendRecord>,
        tickets: Vec<super::TicketRecord>,
    ) -> Self {
        Self { protocol: PROTOCOL, sockets, admin, backends, tickets }
    }
}

fn how(status: ExitStatus) -> String {
    let mut text = String::new();
    let _ = match (status.code(), status.signal()) {
        (Some(code), _) => write!(text, "exit code {code}"),
        (None, Some(signal)) => write!(text, "killed by signal {signal}"),
        (None, None) => write!(text, "{status}"),
    };
    text
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, test_kill_process};

    use super::*;

    /// A program that does this, and is given no time to speak of.
    fn heir(does: &str) -> Heir {
        let program = Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), does.into()] };
        let handover = Handover::new(Vec::new(), None, Vec::new(), Vec::new());
        let patience = Patience { to_be_ready: Duration::from_secs(20), to_serve: Duration::from_secs(20) };
        Heir::start(&program, &handover, &[], patience, &|| false).expect("it starts")
    }

    fn is_there(pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        test_kill_process(pid).is_ok()
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_for_ever() {
        let mut heir = heir("exec sleep 1000");
        heir.patience.to_be_ready = Duration::from_millis(250);
        let pid = heir.child.as_ref().expect("it runs").id();
        let trouble = heir.take_over(|| panic!("it is not ready"), &|| false).expect_err("it is late");
        assert_eq!(trouble.cause, "the new process did not serve within 0.25 s");
        assert!(!is_there(pid), "it is ended");
    }

    #[test]
    fn who_is_ready_and_does_not_serve_is_not_waited_for_for_ever() {
        let mut heir = heir("echo '{\"ready\": {\"version\": \"9\"}}' >&0; exec sleep 1000");
        heir.patience.to_serve = Duration::from_millis(250);
        let pid = heir.child.as_ref().expect("it runs").id();
        let mut told = false;
        let orders = || {
            told = true;
            Vec::new()
        };
        let trouble = heir.take_over(orders, &|| false).expect_err("it is late");
        assert!(told);
        assert_eq!(trouble.cause, "the new process did not serve within 0.25 s");
        assert!(!is_there(pid), "it is ended");
    }

    #[test]
    fn a_process_is_waited_for_as_long_as_the_manual_says() {
        let Patience { to_be_ready, to_serve } = Patience::default();
        assert_eq!((to_be_ready.as_secs(), to_serve.as_secs()), (60, 15));
    }
}
