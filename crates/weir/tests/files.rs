//! Out of files: the process may open no more, and nothing breaks that was whole.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc,
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

/// Starts the binary; what it says comes line by line.
fn start(backend: SocketAddr) -> (Process, SocketAddr, mpsc::Receiver<String>) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = std::env::temp_dir().join(format!("weir-files-{}.yaml", std::process::id()));
    let text = format!(
        "workers: 1\nlisteners:\n  web: {{ bind: \"{address}\", protocol: http, pool: app }}\npools:\n  app: {{ backends: [\"{backend}\"] }}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["run", "-c"]).arg(&file).stderr(Stdio::piped()).stdout(Stdio::null());
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
    let (weir, address, lines) = start(backend.address());
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
