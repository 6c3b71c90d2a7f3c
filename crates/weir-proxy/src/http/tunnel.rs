//! Upgrades and CONNECT: after a 101 that was asked for, or a 2xx to CONNECT, both sides talk past us.
//!
//! A tunnel may live for days. It keeps one route and one backend of the configuration it began under, and nothing else
//! of it, so that no old snapshot lives as long as a tunnel.

use std::{rc::Rc, sync::Arc};

use weir_model::status::BackendStatus;

use super::{
    exchange::{Ended, Exchange},
    forward::{Answer, Link},
    kept::ResponseFields,
    response::ResponseHead,
    serve::After,
    write::Framing,
};
use crate::{
    buffer::Buffer,
    choose::{InFlight, PoolState},
    duplex::Duplex,
    error::{Cause, ProxyError},
    relay::{Carried, relay},
    telemetry::Fields,
    upstream::{Hold, Permit, Way},
};

/// Both connections, agreed on another protocol.
pub(crate) struct Tunnel {
    link: Link,
    in_flight: InFlight<Arc<BackendStatus>>,
    /// What it holds of the pool; dropped after the backend's count went down.
    hold: Option<Hold>,
    /// Its slot among the pool's requests.
    request: Option<Permit>,
}

impl Tunnel {
    /// Keeps a slot for as long as it lives.
    pub(crate) fn keep(&mut self, request: Option<Permit>) {
        self.request = request;
    }
}

impl Exchange<'_> {
    /// Passes the head on if it is what was asked for, and leaves the tunnel to be carried.
    pub(crate) async fn switch(&mut self, pool: &Rc<PoolState>, mut link: Link, answer: Answer) -> Ended {
        let Answer { response, length } = answer;
        let head = link.answer.part(0..length);
        let asked = self.asked.upgrade.as_deref();
        let agreed = match response.status {
            101 => response.is_switch_to(head, asked) && self.is_answered(&response, head),
            _ => self.asked.connect,
        };
        let Some(backend) = self.backend.filter(|_| agreed) else {
            let error = ProxyError::with(Cause::BackendUnaskedUpgrade, self.disagreement(&response, head));
            return self.refuse(error, After::Linger).await;
        };
        let framing = Framing { chunked: false, close: false, say_keep_alive: false };
        self.note_answer(&response, link.answer.part(0..length));
        let lead = self.write_head(&link, &response, length, framing);
        link.answer.consume(length);
        self.status = response.status;
        self.conn.worker.room.responses.give(response);
        if let Way::Shared(lane) = &link.way {
            // Nothing of it will be sent again.
            drop(lane.channel.take_sent());
        }
        let conn = self.conn;
        let sent = self.tell(self.client.send_switch(&lead)).await;
        self.note_sent(lead.len() as u64, 0);
        conn.worker.room.give_text(lead);
        if let Err(error) = sent {
            return Ended { after: After::Close, error: Some(error) };
        }
        let in_flight = InFlight::new(pool.pool.backends[backend].status.clone(), pool.total());
        self.tunnel = Some(Box::new(Tunnel { link, in_flight, hold: self.hold.take(), request: None }));
        // What the record shows of the configuration, and nothing more.
        self.listener = self.listener.alone(self.route);
        self.route = self.route.map(|_| 0);
        self.pool = Some(pool.alone(backend));
        self.backend = Some(0);
        if let Some(kept) = &mut self.kept {
            kept.only_last_attempt();
        }
        Ended::well(After::Close)
    }

    /// What is wrong with a switch to another protocol, where one was asked for.
    #[cold]
    fn disagreement(&self, response: &ResponseHead, head: &[u8]) -> &'static str {
        let asked = self.asked.upgrade.as_deref();
        match (asked, response.upgrade) {
            (None, _) => "",
            (Some(_), None) => "it does not say to which protocol",
            (Some(_), Some(_)) if !response.is_switch_to(head, asked) => "it was asked for another protocol",
            (Some(_), Some(_)) => "its Sec-WebSocket-Accept does not answer the key",
        }
    }

    /// True if the backend has proved that it knows what it was asked for, where nobody behind us would ask it to.
    fn is_answered(&self, response: &ResponseHead, head: &[u8]) -> bool {
        let Duplex::Frames(channel) = self.client else { return true };
        let fields = ResponseFields { response, head };
        channel.is_answered_by(fields.first("sec-websocket-accept").unwrap_or_default())
    }

    /// Carries bytes both ways to the end of the tunnel.
    pub(crate) async fn carry_tunnel(&mut self, input: &mut Buffer, tunnel: Box<Tunnel>) -> Ended {
        let conn = self.conn;
        // In this order, so that what is held is let go last.
        let Tunnel { hold: _hold, link, in_flight, request: _request } = *tunnel;
        let early = std::mem::replace(input, conn.worker.spare.buffer());
        let timeouts = &self.listener.timeouts;
        let drained = (link.way.duplex(), &in_flight.drain, conn.counters(&self.listener));
        let Carried { to_backend, to_client, end, orderly } = relay(
            (conn, self.client, self.timer),
            drained,
            timeouts.tunnel,
            timeouts.send_idle,
            early,
            link.answer,
        )
        .await;
        self.note_sent(to_client, to_client);
        if let Some(kept) = &mut self.kept {
            kept.tunnelled += to_backend;
        }
        match end {
            Ok(()) => Ended::well(After::Close),
            Err(error) if orderly => Ended { after: After::Close, error: Some(error) },
            Err(error) => {
                link.way.duplex().abort();
                let error =
                    if error.cause == Cause::TimeoutIdle { Cause::TimeoutTunnel.into() } else { error };
                Ended { after: After::Reset, error: Some(error) }
            }
        }
    }
}
