//! Unix sockets on both sides.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
};

use weir::app::App;
use weir_testkit::{RawClient, wait_until};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-unix-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Answers one request on each connection, and tells whether it was asked by a client of this machine.
fn backend(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let head = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    let forwarded =
                        head.lines().find(|line| line.starts_with("X-Forwarded-For")).unwrap_or("");
                    let body = format!("{}\n{forwarded}", head.lines().next().unwrap_or(""));
                    let length = body.len();
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                }
            });
        }
    });
}

fn ask(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn config(web: &Path, app: &Path) -> String {
    format!(
        "listeners:\n  web: {{ bind: \"unix:{}\", protocol: http, pool: app }}\n  also: {{ bind: 127.0.0.1:0, protocol: http, pool: app }}\n\
         pools:\n  app: {{ backends: [\"unix:{}\"], health: {{ http: /healthz, interval: 100ms }} }}\n",
        web.display(),
        app.display()
    )
}

#[test]
fn requests_come_and_go_over_unix_sockets() {
    let folder = Folder::new("both");
    let (web, app) = (folder.0.join("web.sock"), folder.0.join("app.sock"));
    backend(&app);
    let weir = App::from_text(&config(&web, &app)).unwrap();
    wait_until("the check has passed", || ask(&web).starts_with("HTTP/1.1 200"));
    for _ in 0..10 {
        let answer = ask(&web);
        assert!(answer.ends_with("GET /x HTTP/1.1\nX-Forwarded-For: 127.0.0.1"), "{answer}");
    }
    let mut client = RawClient::connect(weir.address("also"));
    assert_eq!(client.get("/y").text().lines().next(), Some("GET /y HTTP/1.1"));
    // A second one does not take the address over, and does no harm by trying.
    let second = App::from_text(&config(&web, &app)).unwrap_err().to_string();
    assert!(second.contains("web.sock"), "{second}");
    assert!(ask(&web).starts_with("HTTP/1.1 200"));
    drop(weir);
    assert!(!web.exists(), "the file stayed");
}

#[test]
fn what_a_killed_process_left_is_replaced_and_other_files_are_not() {
    let folder = Folder::new("stale");
    let (web, app) = (folder.0.join("web.sock"), folder.0.join("app.sock"));
    backend(&app);
    drop(UnixListener::bind(&web).unwrap());
    assert!(web.exists());
    let weir = App::from_text(&config(&web, &app)).unwrap();
    wait_until("the check has passed", || ask(&web).starts_with("HTTP/1.1 200"));
    drop(weir);
    fs::write(&web, "precious").unwrap();
    assert!(App::from_text(&config(&web, &app)).is_err());
    assert_eq!(fs::read_to_string(&web).unwrap(), "precious");
}
