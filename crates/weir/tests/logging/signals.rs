//! The real program: rotation as logrotate does it, by rename and SIGHUP, under load; then an orderly end.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weir_testkit::{Answer, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::path;

/// `weir run`, with what it says. It is killed if a test leaves it running.
struct Program {
    child: Child,
    said: Receiver<String>,
}

impl Program {
    fn run(file: &PathBuf) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let mut child = command
            .args(["run", "-c"])
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, said }
    }

    /// The first address that it says it is bound to.
    fn address(&self) -> SocketAddr {
        let mut lines = self.said.iter();
        let bound = lines.find_map(|line| {
            line.split_once("bound to ").map(|(_, address)| address.trim_end_matches(['"', '}']).to_owned())
        });
        bound.expect("it never said what it is bound to").parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rename_and_sighup_lose_nothing_and_repeat_nothing() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let (file, log) = (path("weir.yaml"), path("access.log"));
    let text = format!(
        "workers: 2\nshutdown: {{ announce: 0s }}\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\naccess_log: {{ path: {}, format: '$target' }}\n",
        backend.address(),
        log.display()
    );
    fs::write(&file, text).unwrap();
    let mut weir = Program::run(&file);
    let address = weir.address();
    let (rounds, each) = (4, 300);
    let mut files = vec![log.clone()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = RawClient::connect(address);
                    for number in 0..rounds * each {
                        assert_eq!(connection.get(&format!("/{client}/{number}")).status(), 200);
                    }
                })
            })
            .collect();
        for round in 0..rounds {
            wait_until("lines are written, or there are none to come", || {
                let written = fs::metadata(&log).is_ok_and(|file| file.len() > 0);
                written || clients.iter().all(|client| client.is_finished())
            });
            let old = log.with_extension(format!("log.{round}"));
            fs::rename(&log, &old).unwrap();
            files.push(old);
            weir.signal(Signal::HUP);
            wait_until("the file is there again", || log.exists());
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    weir.signal(Signal::TERM);
    assert!(weir.child.wait().unwrap().success());
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "a line was torn");
        lines.extend(text.lines().map(str::to_owned));
        fs::remove_file(file).unwrap();
    }
    fs::remove_file(file).unwrap();
    let expected: BTreeSet<_> = (0..2)
        .flat_map(|client| (0..rounds * each).map(move |number| format!("/{client}/{number}")))
        .collect();
    assert_eq!(lines.len(), expected.len());
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_signal_that_rotates_other_logs_ends_nothing() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let file = path("weir.yaml");
    let text = format!(
        "workers: 1\nshutdown: {{ announce: 0s }}\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    );
    fs::write(&file, text).unwrap();
    let mut weir = Program::run(&file);
    let mut client = RawClient::connect(weir.address());
    weir.signal(Signal::USR1);
    let said = weir.said.iter().find(|line| line.contains("SIGUSR1"));
    assert!(said.expect("it is still there").contains("SIGHUP"));
    assert_eq!(client.get("/").status(), 200);
    weir.signal(Signal::TERM);
    assert!(weir.child.wait().unwrap().success());
    fs::remove_file(file).unwrap();
}

#[test]
fn standard_output_takes_the_access_log_and_standard_error_the_other() {
    let (backend, refusing) = (FakeBackend::answering(Answer::ok("ok")), Refusing::new());
    let file = path("weir.yaml");
    let text = format!(
        "workers: 1\nshutdown: {{ announce: 0s }}\nlog: {{ format: json }}\naccess_log: '-'\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, routes: [\n  \
         {{ match: {{ path: /no }}, pool: gone }}, {{ pool: app }}] }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }}, gone: {{ backends: ['{}'] }} }}\n",
        backend.address(),
        refusing.address()
    );
    fs::write(&file, text).unwrap();
    let mut weir = Program::run(&file);
    let mut client = RawClient::connect(weir.address());
    for _ in 0..50 {
        assert_eq!(client.get("/yes").status(), 200);
    }
    assert_eq!(client.get("/no").status(), 502);
    weir.signal(Signal::TERM);
    assert!(weir.child.wait().unwrap().success());
    let mut written = String::new();
    weir.child.stdout.take().unwrap().read_to_string(&mut written).unwrap();
    let objects: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 51, "{written}");
    assert_eq!(objects[50]["cause"], "backend_connect_refused");
    // What it was bound to has been read before.
    let said: Vec<Value> = weir.said.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
    let failure = said.iter().find(|line| line["cause"] == "backend_connect_refused").unwrap();
    assert_eq!((&failure["level"], &failure["route"]), (&"warn".into(), &"/no".into()));
    assert_eq!((&failure["pool"], &failure["status"]), (&"gone".into(), &"502".into()));
    assert!(failure["message"].as_str().unwrap().starts_with("the backend refused the connection"));
    fs::remove_file(file).unwrap();
}
