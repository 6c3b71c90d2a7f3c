//! The commands that ask a running process, as processes of their own.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
    thread,
};

use serde_json::Value;
use weir::app::{App, Sink};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

/// A folder with a configuration in it, for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("weir-commands-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        fs::write(self.0.join("weir.yaml"), text).unwrap();
    }

    fn start(&self) -> App {
        App::from_path(&self.0.join("weir.yaml"), Sink::none()).unwrap()
    }

    /// What a command says: its exit code, standard output and standard error.
    fn weir(&self, arguments: &[&str]) -> (i32, String, String) {
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).current_dir(&self.0).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A configuration whose admin API is a socket in the folder.
fn text(folder: &Folder, backend: &FakeBackend) -> String {
    format!(
        "workers: 1
admin: {{ bind: 'unix:{}' }}
listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, routes: [{{ name: shop, match: {{ host: shop.test }}, pool: app }}] }} }}
pools: {{ app: {{ backends: [{{ address: '{}', name: one }}] }} }}
",
        folder.0.join("weir.sock").display(),
        backend.address()
    )
}

#[test]
fn the_running_process_is_found_by_its_file() {
    let (folder, backend) = (Folder::new("file"), FakeBackend::echo());
    folder.write(&text(&folder, &backend));
    let weir = folder.start();
    assert_eq!(
        RawClient::connect(weir.address("web"))
            .send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            .final_response("GET")
            .status(),
        200
    );

    let (code, said, _) = folder.weir(&["status"]);
    assert!(code == 0 && said.contains("one") && said.contains("REASON"), "{said}");
    let (code, said, _) = folder.weir(&["status", "--json"]);
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &status["pools"][0]["backends"][0]["name"]), (0, &"one".into()));

    let (code, said, _) = folder.weir(&["drain", "app", "one", "--wait"]);
    assert_eq!((code, &*said), (0, "one of app may be stopped; nothing was cut\n"));
    let (_, said, _) =
        folder.weir(&["explain", "--live", "http://shop.test/", "--listener", "web", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["live"], &told["pick"]), (&true.into(), &Value::Null));
    let (_, said, _) = folder.weir(&["explain", "http://shop.test/", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["live"], &told["pick"]), (&false.into(), &backend.address().to_string().into()));
    assert_eq!(folder.weir(&["enable", "app", "one"]).0, 0);
    assert_eq!(folder.weir(&["disable", "app", "one"]).0, 0);
    assert!(folder.weir(&["status"]).1.contains("disabled"));

    let (code, _, wrong) = folder.weir(&["drain", "app", "two"]);
    assert_eq!(code, 1);
    assert_eq!(wrong, "error: the pool `app` has no backend `two`\n  help: there are: `one`\n");
    let (_, _, wrong) = folder.weir(&["drain", "ap", "one"]);
    assert_eq!(wrong, "error: there is no pool `ap`\n  help: did you mean `app`?\n");
    let (_, _, wrong) = folder.weir(&["drain", "app", &backend.address().to_string()]);
    assert!(wrong.ends_with("\n  help: the one at that address is called `one`\n"), "{wrong}");
}

#[test]
fn who_disables_a_backend_may_wait_for_it() {
    let (folder, backend) = (Folder::new("disable"), FakeBackend::echo());
    folder.write(&text(&folder, &backend));
    let _weir = folder.start();
    let (code, said, wrong) = folder.weir(&["disable", "app", "one", "--wait"]);
    assert_eq!((code, &*said), (0, "one of app may be stopped; nothing was cut\n"), "{wrong}");
    assert!(folder.weir(&["status"]).1.contains("disabled"));
    assert!(folder.weir(&["disable", "app", "one"]).1.starts_with("one of app is disabled; 0 in flight, "));
}

#[test]
fn a_reload_says_what_came_of_it() {
    let (folder, backend) = (Folder::new("reload"), FakeBackend::echo());
    let good = text(&folder, &backend);
    folder.write(&good);
    let _weir = folder.start();
    let (code, said, _) = folder.weir(&["reload"]);
    assert!(code == 0 && said.starts_with("generation 2 "), "{said}");

    // The file still says where the process is, though it cannot be used.
    folder.write(&good.replace("pool: app }", "pool: nowhere }"));
    let (code, said, wrong) = folder.weir(&["reload"]);
    assert!(code == 1 && said.is_empty() && wrong.contains("there is no pool `nowhere`"), "{said}{wrong}");
    let (code, said, _) = folder.weir(&["reload", "--json"]);
    let refusal: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 1 && refusal["problems"][0]["line"] == 3, "{said}");

    // It does not say so any more: then its own mistakes are shown.
    folder.write("listeners: [\n");
    let (code, _, wrong) = folder.weir(&["reload"]);
    assert!(code == 1 && wrong.contains("weir.yaml:"), "{wrong}");
    let socket = format!("unix:{}", folder.0.join("weir.sock").display());
    assert!(folder.weir(&["status", "--admin", &socket]).1.contains("the last reload was refused"));
}

#[test]
fn what_cannot_be_reached_says_so_in_two_lines() {
    let (folder, backend) = (Folder::new("nobody"), FakeBackend::echo());
    folder.write(&text(&folder, &backend));
    let silent = FakeBackend::answering(Answer::close());
    let others = [&backend, &silent].map(|other| format!("http://{}", other.address()));
    for arguments in [
        &["status"][..],
        &["reload"],
        &["drain", "app", "one"],
        &["explain", "--live", "http://shop.test/"],
        &["status", "--admin", "http://127.0.0.1:1"],
        &["status", "--admin", "nonsense"],
        &["status", "--admin", &others[0]],
        &["drain", "app", "one", "--admin", &others[0]],
        &["reload", "--admin", &others[1]],
        &["explain", "nonsense"],
        &["explain", "http://shop.test:1/"],
    ] {
        let (code, said, wrong) = folder.weir(arguments);
        let lines: Vec<_> = wrong.lines().collect();
        let two = matches!(lines[..], [cause, help] if cause.starts_with("error: ") && help.starts_with("  help: "));
        assert!(code == 1 && said.is_empty() && two, "{arguments:?}: {code} {said} {wrong}");
    }
}

#[test]
fn what_is_not_done_yet_is_no_typing_error() {
    let folder = Folder::new("later");
    for arguments in [
        &["top"][..],
        &["top", "--help"],
        &["import", "haproxy", "x.cfg"],
        &["dsr-setup", "a", "b", "--apply"],
    ] {
        let (code, said, wrong) = folder.weir(arguments);
        let expected = format!(
            "error: `weir {}` is part of the command line but this version does not do it yet\n  help: ",
            arguments[0]
        );
        assert!(code == 1 && said.is_empty() && wrong.starts_with(&expected), "{code} {said} {wrong}");
    }
    let (code, _, wrong) = folder.weir(&["tap"]);
    assert!(code == 2 && wrong.contains("unrecognized subcommand"), "{wrong}");
}

#[test]
fn a_command_line_that_is_wrong_says_so_in_two_lines() {
    let folder = Folder::new("usage");
    for (arguments, expected) in [
        (&["stauts"][..], "unrecognized subcommand 'stauts'\n  help: did you mean `status`?"),
        (&["demo", "--fo", "2s"], "unexpected argument '--fo' found\n  help: did you mean `--for`?"),
        (
            &["check", "weir.yaml"],
            "unexpected argument 'weir.yaml' found\n  help: name a configuration with `-c weir.yaml`",
        ),
        (
            &["drain", "app"],
            "the following required arguments were not provided: <BACKEND>\n  \
             help: write `weir drain <POOL> <BACKEND>`; `weir drain --help` says more",
        ),
        (
            &["enable", "app", "one", "--wait"],
            "unexpected argument '--wait' found\n  \
             help: write `weir enable <POOL> <BACKEND>`; `weir enable --help` says more",
        ),
        (
            &["demo", "--for", "0s"],
            "invalid value '0s' for '--for <DURATION>'\n  help: write a duration above zero: `20s`",
        ),
        (
            &["demo", "--for"],
            "a value is required for '--for <DURATION>' but none was supplied\n  \
             help: `weir demo --help` shows what to write",
        ),
    ] {
        let (code, said, wrong) = folder.weir(arguments);
        assert_eq!((code, &*said, &*wrong), (2, "", &*format!("error: {expected}\n")), "{arguments:?}");
    }
}

#[test]
fn both_places_are_named_where_there_is_no_file() {
    let folder = Folder::new("no-file");
    for arguments in [&["check"][..], &["run"], &["status"], &["explain", "http://a/"], &["simulate"]] {
        let (code, _, wrong) = folder.weir(arguments);
        let expected = "error: there is no configuration: neither ./weir.yaml nor /etc/weir/weir.yaml is there\n  \
                        help: name it with `-c FILE`, or write one of the two\n";
        assert_eq!((code, &*wrong), (1, expected), "{arguments:?}");
    }
}

#[test]
fn a_pipe_is_read() {
    let folder = Folder::new("pipe");
    fs::write(folder.0.join("sorry.html"), "sorry").unwrap();
    // Paths in it are relative to where weir is.
    let script = "printf 'listeners: {web: {bind: \":80\", protocol: http, pool: app, errors: {\"503\": sorry.html}}}\\n\
                  pools: {app: {backends: [10.0.0.1:80]}}\\n' | \"$0\" check -c /dev/stdin";
    let weir = env!("CARGO_BIN_EXE_weir");
    let output = Command::new("sh").args(["-c", script, weir]).current_dir(&folder.0).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("/dev/stdin is valid: 1 listener, "), "{said}");
}

#[test]
fn what_cannot_be_read_or_bound_says_what_to_do() {
    let folder = Folder::new("remedies");
    let file = |bind: &str| {
        let text = "listeners: { web: { bind: 'BIND', protocol: http, routes: [{ respond: {} }] } }\n";
        folder.write(&text.replace("BIND", bind));
    };
    fs::write(folder.0.join("plain"), "").unwrap();
    for (bind, help) in [
        ("192.0.2.1:8080", "help: this machine has no such address: `ip address` shows those that it has"),
        ("unix:plain", "help: there is a file that is no socket: remove it, or name another path"),
        ("unix:/run/weir-nowhere/web.sock", "help: make the folder /run/weir-nowhere first"),
    ] {
        file(bind);
        let (code, _, wrong) = folder.weir(&["run"]);
        assert!(code == 1 && wrong.contains("cannot be bound") && wrong.contains(help), "{bind}: {wrong}");
    }
    let (code, _, wrong) = folder.weir(&["status", "--admin", "http://127.0.0.1:1", "--token-file", "nope"]);
    let expected = "error: the token cannot be read from nope: No such file or directory (os error 2)\n  \
                    help: name the file that `admin.token_file` names, as a user that may read it\n";
    assert_eq!((code, &*wrong), (1, expected));
}

#[test]
fn every_command_shows_an_example() {
    let folder = Folder::new("help");
    for command in ["run", "demo", "check", "explain", "status", "reload", "drain", "enable", "disable"] {
        let (code, said, _) = folder.weir(&[command, "--help"]);
        assert!(code == 0 && said.contains(&format!("  weir {command}")), "{said}");
    }
}

#[test]
fn a_drain_says_what_it_has_cut_and_who_has_ended_it() {
    let (folder, backend) = (Folder::new("drain"), FakeBackend::answering(Answer::hang()));
    folder.write(&text(&folder, &backend).replace("app: {", "app: { drain: 500ms,"));
    let app = folder.start();
    let mut client = RawClient::connect(app.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    wait_until("it is under way", || !backend.requests().is_empty());
    let (code, said, _) = folder.weir(&["drain", "app", "one", "--wait"]);
    assert_eq!(
        (code, &*said),
        (0, "one of app may be stopped; 1 in flight were cut when its drain was over\n")
    );
    assert_eq!(client.final_response("GET").status(), 503);
    assert_eq!(folder.weir(&["enable", "app", "one"]).0, 0);

    folder.write(&text(&folder, &backend).replace("app: {", "app: { drain: none,"));
    app.reload().unwrap();
    client = RawClient::connect(app.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    wait_until("it is under way", || backend.requests().len() == 2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| folder.weir(&["drain", "app", "one", "--wait"]));
        wait_until("it is drained", || folder.weir(&["status"]).1.contains("draining"));
        assert_eq!(folder.weir(&["enable", "app", "one"]).0, 0);
        let (code, said, error) = waiting.join().unwrap();
        let expected = "error: one of app is active now: somebody has enabled it\n  help: drain it again\n";
        assert_eq!((code, &*said, &*error), (1, "", expected));
    });
}

#[test]
fn who_was_not_started_by_run_is_not_upgraded() {
    let (folder, backend) = (Folder::new("upgrade"), FakeBackend::echo());
    folder.write(&text(&folder, &backend));
    let _app = folder.start();
    let (code, _, said) = folder.weir(&["upgrade"]);
    let expected = "error: this process cannot be upgraded in place: it was not started by `weir run`\n  help: start it anew\n";
    assert_eq!((code, &*said), (1, expected));
    let (code, said, _) = folder.weir(&["upgrade", "--json"]);
    assert!(code == 1 && said.contains("was not started by"), "{said}");
}

#[test]
fn a_machine_that_trusts_nobody_refuses_to_verify_by_its_trust() {
    let folder = Folder::new("trusts-nobody");
    let text = |tls: &str| {
        format!(
            "listeners: {{ web: {{ bind: ':80', protocol: http, pool: app }} }}\n\
             pools: {{ app: {{ backends: ['app.internal:443'], tls: {tls} }} }}\n"
        )
    };
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["check", "-c", "weir.yaml"])
            .env("SSL_CERT_FILE", "/nonexistent/bundle")
            .env("SSL_CERT_DIR", "/nonexistent/certificates")
            .current_dir(&folder.0)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    folder.write(&text("{}"));
    let (fine, said) = check();
    assert!(
        !fine && said.contains("the `tls` of the pool `app`: this machine trusts no authority"),
        "{said}"
    );
    assert!(said.contains("give the CA in `tls.ca`"), "{said}");
    folder.write(&text("{ verify: false }"));
    assert_eq!(check(), (true, String::new()));
}

#[test]
fn who_needs_a_token_is_told_how_to_give_it() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let (folder, backend) = (Folder::new("token"), FakeBackend::echo());
    let write = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
    write("token", TOKEN);
    write("other", &TOKEN.replace('0', "1"));
    let text = text(&folder, &backend);
    let bind = format!("unix:{}", folder.0.join("weir.sock").display());
    folder.write(&text.replace(&format!("bind: '{bind}'"), "bind: 127.0.0.1:0, token_file: token"));
    let app = folder.start();
    let admin = format!("http://{}", app.admin_address().unwrap());
    let drain = |more: &[&str]| folder.weir(&[&["drain", "app", "one", "--admin", &admin], more].concat());
    let (code, _, wrong) = drain(&[]);
    let expected = "error: this needs the token of `admin.token_file`\n  \
                    help: name a file with its token, with `--token-file FILE`, or use the unix socket\n";
    assert_eq!((code, &*wrong), (1, expected));
    let (code, _, wrong) = drain(&["--token-file", "other"]);
    assert!(code == 1 && wrong.contains("is not the one of the process that runs"), "{wrong}");
    assert_eq!(drain(&["--token-file", "token"]).0, 0);
}
