//! Backends that are weir itself, given as addresses.

use std::net::UdpSocket;

use super::*;

/// An address of this machine that is not loopback, as connections to elsewhere would come from it. Nothing is sent.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    socket.ok().map(|from| from.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test(start_paused = true)]
async fn the_own_listener_by_its_address_is_left_out_until_a_reload_takes_it_away() {
    // A machine without a network has no such address.
    let Some(own) = address() else { return };
    for check in ["", "health: { tcp: {} }, "] {
        let backends = |port: u16| format!("app: {{ {check}backends: ['{own}:{port}', '10.0.0.1:80'] }}");
        let script = Script::default();
        let mut world = World::new(&backends(80), script.clone());
        seconds(30).await;
        assert_eq!(world.health(), ["down", "up"]);
        let asked = script.asked.lock().unwrap().iter().filter(|(to, _)| to.ip() == own).count();
        assert_eq!(asked, 0, "nobody checks it");
        let said: Vec<_> = world.lines().into_iter().filter(|line| line.contains("own listener")).collect();
        let expected = format!(
            "warn pool=app backend={own}:80 health=down: {own} is weir's own listener `web`, which leads to this pool again"
        );
        assert_eq!(said, [expected], "once");
        world.reload(&backends(81));
        seconds(30).await;
        assert_eq!(world.health(), ["up", "up"]);
    }
}
