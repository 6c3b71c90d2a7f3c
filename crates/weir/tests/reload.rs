//! Reloads of the program itself: signals, watched files, and what `weir check --diff` says beforehand.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

/// A folder with a configuration, and perhaps a process that serves it. Both end with the test.
struct World {
    folder: PathBuf,
    child: Option<Child>,
    address: SocketAddr,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl World {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // An address that no other test uses.
        let address = TcpListener::bind("127.0.0.31:0").unwrap().local_addr().unwrap();
        Self { folder, child: None, address }
    }

    fn text(&self, backend: &FakeBackend) -> String {
        format!(
            "listeners: {{ web: {{ bind: '{}', protocol: http, pool: app }} }}\npools: {{ app: {{ backends: ['{}'] }} }}\n",
            self.address,
            backend.address()
        )
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn run(&mut self, arguments: &[&str]) {
        let log = fs::File::create(self.folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["run", "-c", "weir.yaml"]).args(arguments).current_dir(&self.folder);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_until("weir listens", || RawClient::try_connect(self.address).is_ok());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("check").args(arguments).current_dir(&self.folder).output().unwrap()
    }
}

fn answering(text: &str) -> FakeBackend {
    FakeBackend::answering(Answer::ok(text))
}

#[test]
fn hanging_up_reloads_and_says_how_it_went() {
    let (one, two) = (answering("one"), answering("two"));
    let mut world = World::new("signal");
    world.write("weir.yaml", &world.text(&one));
    world.run(&[]);
    let mut client = RawClient::connect(world.address);
    assert_eq!(client.get("/").text(), "one");

    world.write("weir.yaml", &world.text(&two));
    assert_eq!(client.get("/").text(), "one", "nobody has asked yet");
    world.signal(Signal::HUP);
    wait_until("it was reloaded", || world.log().contains("reload: generation 2 after "));
    assert_eq!(client.get("/").text(), "two");
    let line = format!("adds backend app/{}; removes backend app/{}", two.address(), one.address());
    assert!(world.log().contains(&line), "{}", world.log());

    world.write("weir.yaml", "listeners: { web: { bind: nowhere } }\nwurkers: 2\n");
    world.signal(Signal::HUP);
    wait_until("it was refused", || world.log().contains("reload refused, nothing was changed: weir.yaml:"));
    wait_until("every problem is shown", || {
        let log = world.log();
        ["`nowhere` is not an address", "unknown key `wurkers`", "did you mean `workers`?"]
            .iter()
            .all(|part| log.contains(part))
    });
    fs::remove_file(world.folder.join("weir.yaml")).unwrap();
    world.signal(Signal::HUP);
    // What stands in no line is said to stand in none.
    wait_until("it is missed", || world.log().contains("reload: error: weir.yaml: the file cannot be read"));
    assert_eq!(client.get("/").text(), "two");

    world.signal(Signal::TERM);
    assert!(world.child.take().unwrap().wait().unwrap().success());
}

#[test]
fn watched_files_are_reloaded_without_being_asked() {
    let (one, two) = (answering("one"), answering("two"));
    let mut world = World::new("watch");
    world.write("weir.yaml", "include: [conf.d/*.yaml]\n");
    fs::create_dir(world.folder.join("conf.d")).unwrap();
    world.write("conf.d/app.yaml", &world.text(&one));
    world.run(&["--watch"]);
    let mut client = RawClient::connect(world.address);
    assert_eq!(client.get("/").text(), "one");
    world.write("conf.d/app.yaml", &world.text(&two));
    wait_until("the included file was noticed", || client.get("/").text() == "two");
    world.write("conf.d/more.yaml", "pools: { more: { backends: ['10.0.0.1:80'] } }\n");
    wait_until("the new file was noticed", || world.log().contains("adds pool more"));
    assert_eq!(client.get("/").text(), "two");
}

#[test]
fn a_plan_says_what_a_reload_would_change() {
    let (one, two) = (answering("one"), answering("two"));
    let world = World::new("plan");
    world.write("weir.yaml", &world.text(&one));
    let next = world
        .text(&two)
        .replace("pool: app }", "pool: app }, admin-web: { bind: ':8081', protocol: http, pool: app }");
    world.write("next.yaml", &next);
    let output = world.check(&["-c", "next.yaml", "--diff", "weir.yaml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let address = world.address;
    let expected = format!(
        "bind    0.0.0.0:8081 (admin-web)\nbind    [::]:8081 (admin-web)\nkeep    {address} (web)\n\
         add     listener admin-web\nadd     route admin-web/any\nchange  pool app (backends)\n\
         add     backend app/{}\nremove  backend app/{}\n\
         keep    1 listener, 1 route, 0 pools, 0 backends as they are\n",
        two.address(),
        one.address()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    let output = world.check(&["-c", "weir.yaml", "--diff", "weir.yaml"]);
    let expected =
        format!("keep    {address} (web)\nkeep    1 listener, 1 route, 1 pool, 1 backend as they are\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    world.write("bad.yaml", "listeners: {\n");
    for arguments in [["-c", "bad.yaml", "--diff", "weir.yaml"], ["-c", "weir.yaml", "--diff", "bad.yaml"]] {
        let output = world.check(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("bad.yaml:"), "{arguments:?}: {said}");
    }
}
