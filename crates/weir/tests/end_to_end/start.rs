//! Starting, where it fails.

use std::{net::TcpListener, sync::mpsc, thread, time::Duration};

use weir::app::App;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The error of a configuration that cannot be started; in time, or the test fails.
#[track_caller]
fn refusal(text: String) -> String {
    let (said, says) = mpsc::channel();
    thread::spawn(move || said.send(App::from_text(&text).map(drop)));
    let started = says.recv_timeout(PATIENCE).expect("it neither starts nor says why not");
    format!("{:#}", started.expect_err("it started"))
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let pools = "pools: { app: { backends: [127.0.0.1:9] } }";
    let listener =
        |bind: &str| format!("listeners: {{ web: {{ bind: {bind}, protocol: http, pool: app }} }}");

    let error = refusal(format!("{}\n{pools}", listener(&format!("\"{address}\""))));
    assert!(error.contains("`web`") && error.contains(&address.to_string()), "{error}");

    let admin = format!("admin: {{ bind: \"{address}\" }}");
    let error = refusal(format!("{}\n{pools}\n{admin}", listener("\"127.0.0.1:0\"")));
    assert!(error.contains("`admin`") && error.contains(&address.to_string()), "{error}");
}

#[test]
fn a_second_weir_does_not_share_the_port_of_the_first() {
    let file = |bind: &str| {
        let listener = format!("listeners: {{ web: {{ bind: \"{bind}\", protocol: http, pool: app }} }}");
        format!("{listener}\npools: {{ app: {{ backends: [127.0.0.1:9] }} }}")
    };
    let first = App::from_text(&file("127.0.0.1:0")).unwrap();
    let address = first.address("web").to_string();
    let error = refusal(file(&address));
    assert!(error.contains("`web`") && error.contains(&address), "{error}");
}

#[test]
fn who_comes_while_it_drains_is_refused_at_once() {
    let (begun, has_begun) = mpsc::channel();
    let (finish, may_finish) = mpsc::channel::<()>();
    let may_finish = std::sync::Mutex::new(may_finish);
    let backend = weir_testkit::FakeBackend::custom(move |mut connection| {
        connection.read_head();
        begun.send(()).unwrap();
        let _ = may_finish.lock().unwrap().recv_timeout(PATIENCE);
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let text = format!(
        "listeners: {{ web: {{ bind: '127.0.0.41:0', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\nshutdown: {{ announce: 0s, drain: 20s }}\n",
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let address = app.address("web");
    let mut client = weir_testkit::RawClient::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    has_begun.recv_timeout(PATIENCE).unwrap();
    let stopping = thread::spawn(move || app.shutdown(&|| false));
    // Not accepted and left alone until the drain is over: refused, so that a client can turn to somebody else.
    weir_testkit::wait_until("new connections are refused", || {
        std::net::TcpStream::connect(address).is_err()
    });
    finish.send(()).unwrap();
    assert_eq!(client.final_response("GET").text(), "done");
    assert_eq!(stopping.join().unwrap(), 0);
}
