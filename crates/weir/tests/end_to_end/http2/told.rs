//! What logs, metrics and routes say of requests that came by HTTP/2.

use std::fs;

use weir_testkit::{Folder, RawClient, Refusing, wait_until};

use super::client::{Client, request_with};
use crate::support::Weir;

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// A call is taken by its route, which leads to nobody; everything else is told how it was asked.
fn text(folder: &Folder, nobody: &Refusing) -> String {
    format!(
        "workers: 1\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         access_log: {{ path: {}, format: '$protocol|$route|$status|$grpc_status|$request' }}\n\
         listeners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - {{ name: cart, match: {{ grpc: {{ service: shop.Cart, method: Add }} }}, pool: nobody }}\n      \
         - {{ name: rest, respond: {{ body: $protocol }} }}\n\
         pools: {{ nobody: {{ backends: ['{}'] }} }}\n",
        folder.join("access.log").display(),
        nobody.address()
    )
}

fn metrics(weir: &Weir) -> String {
    let page = RawClient::connect(weir.app().admin_address().unwrap())
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .final_response("GET");
    page.text().to_owned()
}

#[test]
fn calls_are_routed_by_their_names_and_everything_says_what_became_of_them() {
    let (folder, nobody) = (Folder::new("http2-told"), Refusing::new());
    let weir = Weir::from_text(&text(&folder, &nobody));
    let client = Client::connect(weir.address());
    let ask = |path: &str, fields: &[(&str, &str)]| {
        client.ask(request_with("POST", path, fields), Some(b"\0\0\0\0\0")).unwrap()
    };
    let call = ask("/shop.Cart/Add", &CALL);
    assert_eq!((call.status, call.field("grpc-status")), (200, "14"));
    // Another method, another service, and a request that is no call.
    assert_eq!(ask("/shop.Cart/Remove", &CALL).text(), "HTTP/2.0");
    assert_eq!(ask("/shop.Order/Add", &CALL).text(), "HTTP/2.0");
    assert_eq!(ask("/shop.Cart/Add", &[("content-type", "application/json")]).text(), "HTTP/2.0");
    let mut old = RawClient::connect(weir.address());
    assert_eq!(old.get("/shop.Cart/Add").text(), "HTTP/1.1");

    let expected = "HTTP/2.0|cart|200|14|POST /shop.Cart/Add HTTP/2.0\n\
                    HTTP/2.0|rest|200|-|POST /shop.Cart/Remove HTTP/2.0\n\
                    HTTP/2.0|rest|200|-|POST /shop.Order/Add HTTP/2.0\n\
                    HTTP/2.0|rest|200|-|POST /shop.Cart/Add HTTP/2.0\n\
                    HTTP/1.1|rest|200|-|GET /shop.Cart/Add HTTP/1.1\n";
    let lines = || fs::read_to_string(folder.join("access.log")).unwrap_or_default();
    wait_until("all of it is logged", || lines().lines().count() == 5);
    assert_eq!(lines(), expected);

    let page = metrics(&weir);
    for series in [
        "weir_grpc_responses_total{listener=\"web\",route=\"cart\",pool=\"nobody\",status=\"14\"} 1",
        "weir_http2_connections_total{listener=\"web\"} 1",
        "weir_http2_connections_active{listener=\"web\"} 1",
        "weir_connections_active{listener=\"web\"} 2",
    ] {
        assert!(page.contains(series), "{series} is not in\n{page}");
    }
    assert_eq!(page.matches("weir_grpc_responses_total{").count(), 1);
    drop(client);
    wait_until("the connection is counted as over", || {
        metrics(&weir).contains("weir_http2_connections_active{listener=\"web\"} 0")
    });
}
