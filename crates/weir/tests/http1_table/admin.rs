//! The same requests at the admin address: what must be refused there is refused here, and nothing of it does harm.

use weir::app::App;
use weir_testkit::{End, FakeBackend, RawClient};

use crate::{cases, requests::without_choice};

#[test]
fn the_admin_api_refuses_what_a_listener_refuses() {
    let backend = FakeBackend::echo();
    let text = format!(
        "admin: {{ bind: 127.0.0.1:0 }}\n\
         listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let address = app.admin_address().unwrap();
    let (refuse, _) = without_choice();
    let mut wrong = Vec::new();
    for case in cases::read("requests").into_iter().filter(|case| refuse.contains(&case.id)) {
        let mut client = RawClient::connect(address);
        client.send(&case.bytes).finish();
        let (said, end) = client.read_to_end();
        let said = String::from_utf8_lossy(&said).into_owned();
        let answers = said.matches("HTTP/1.1 ").count();
        if end == End::Open || answers > 1 || said.starts_with("HTTP/1.1 2") {
            wrong.push(format!("{}: {end:?} after {:?}", case.id, said.lines().next()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), refuse.len(), wrong.join("\n"));
    assert_eq!(RawClient::connect(address).get("/livez").status(), 200);
    assert_eq!(backend.byte_count(), 0);
}
