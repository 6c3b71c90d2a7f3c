//! Out of files: the process may open no more, and nothing breaks that was whole.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use weir_testkit::{FakeBackend, RawClient, wait_until};

/// A weir of its own, which ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Ticks of CPU time used so far, 100 a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Allows so many files more than are open now.
    fn allow_files(&self, more: u64) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count() as u64;
        let limit = Rlimit { current: Some(open + more), maximum: Some(1 << 12) };
        prlimit(Pid::from_raw(self.0.id() as i32), Resource::Nofile, limit).unwrap();
    }
}

/// Starts the binary with a limit of so many files, if one is given; what it says comes line by line.
fn start(
    backend: SocketAddr,
    settings: &str,
    files: Option<u32>,
) -> (Process, SocketAddr, mpsc::Receiver<String>) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("weir-files-{}-{number}.yaml", std::process::id()));
    let text = format!(
        "{settings}\nlisteners:\n  web: {{ bind: \"{address}\", protocol: http, pool: app }}\npools:\n  app: {{ backends: [\"{backend}\"] }}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new("sh");
    let limit = files.map_or_else(String::new, |files| format!("ulimit -n {files} && "));
    command.arg("-c").arg(limit + r#"exec "$0" run -c "$1""#);
    command.arg(env!("CARGO_BIN_EXE_weir")).arg(&file).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let said = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    wait_until("weir listens", || RawClient::try_connect(address).is_ok());
    fs::remove_file(file).unwrap();
    (Process(child), address, lines)
}

#[test]
fn without_files_accepting_pauses_and_goes_on_when_there_are_some() {
    let backend = FakeBackend::echo();
    let (weir, address, lines) = start(backend.address(), "workers: 1", None);
    let mut first = RawClient::connect(address);
    assert_eq!(first.get("/").status(), 200);
    weir.allow_files(6);

    let crowd: Vec<_> = (0..40).map(|_| RawClient::connect(address)).collect();
    let said = lines.iter().find(|line| line.contains("accepting pauses"));
    assert!(said.unwrap().contains("files"), "the line says what is missing");
    // A loop that asks again and again would use all of it.
    let before = weir.ticks();
    thread::sleep(Duration::from_secs(1));
    let used = weir.ticks() - before;
    assert!(used < 50, "{used} ticks of CPU time in a second of doing nothing");
    for _ in 0..20 {
        assert_eq!(first.get("/").status(), 200, "those that are there live on");
    }

    drop(crowd);
    let mut late = RawClient::connect(address);
    assert_eq!(late.get("/").status(), 200, "service resumes");
    assert_eq!(first.get("/").status(), 200);
}

/// What a process says that has more clients than it may have.
fn crowded(settings: &str, files: Option<u32>) -> Vec<String> {
    let backend = FakeBackend::echo();
    let (weir, address, lines) = start(backend.address(), settings, files);
    let _crowd: Vec<_> = (0..20).map(|_| RawClient::connect(address)).collect();
    let mut said = Vec::new();
    for line in &lines {
        let pauses = line.contains("accepting pauses");
        said.push(line);
        if pauses {
            break;
        }
    }
    drop(weir);
    said.extend(lines);
    said
}

#[test]
fn the_line_names_the_limit_that_is_reached_once_for_all_workers() {
    for (settings, files, reason) in [
        ("workers: 2\nlimits: { connections: 3 }", None, "`limits.connections` of 3 is reached"),
        ("workers: 1", Some(90), "the process may open 90 files, which is enough for 8 connections"),
        (
            "workers: 2\ndefaults: { listener: { max_connections: 2 } }",
            None,
            "`max_connections` of 2 is reached",
        ),
    ] {
        let said = crowded(settings, files);
        let pauses: Vec<_> = said.iter().filter(|line| line.contains("accepting pauses")).collect();
        assert_eq!(pauses.len(), 1, "{said:#?}");
        assert!(pauses[0].contains(reason), "{said:#?}");
        let warned = said.iter().any(|line| line.contains("may open only 90 files"));
        assert_eq!(warned, files.is_some(), "{said:#?}");
    }
}
