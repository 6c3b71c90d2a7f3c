//! The termination state of HAProxy's log lines: who ended it, and in which phase.

use super::record::{Phase, Record};
use crate::error::{Cause, Side};

/// Four letters: who, when, and twice nothing, since weir keeps no cookie for stickiness.
pub(super) fn state(record: &Record<'_>) -> [u8; 4] {
    let Some(error) = record.error else {
        // Answered here, without any backend.
        let local = record.request.is_some() && record.pool.is_none();
        return if local { *b"LR--" } else { *b"----" };
    };
    let phase = match record.phase() {
        Phase::Request => b'R',
        Phase::Queue => b'Q',
        Phase::Connect => b'C',
        Phase::Head => b'H',
        Phase::Data => b'D',
    };
    let [who, when] = match error.cause {
        Cause::ClientTimeoutHeader => *b"cR",
        Cause::ClientTimeoutBody | Cause::ClientBodyTooSlow => [b'c', phase],
        Cause::ClientTimeoutSend | Cause::TimeoutIdle | Cause::TimeoutTunnel => *b"cD",
        Cause::ClientAborted => [b'C', phase],
        Cause::NoHealthyBackend => *b"SC",
        Cause::PoolRequestsLimit | Cause::PoolQueueFull => *b"PC",
        Cause::PoolQueueTimeout => *b"sQ",
        Cause::OutOfResources => *b"RC",
        Cause::BackendConnectTimeout => *b"sC",
        Cause::BackendConnectRefused | Cause::BackendConnectFailed | Cause::BackendUnresolved => *b"SC",
        Cause::TimeoutRoute | Cause::CallDeadline => [b's', phase],
        Cause::BackendTimeoutHeader | Cause::BackendTimeoutTry => *b"sH",
        Cause::BackendTimeoutBody => *b"sD",
        Cause::BackendBadResponse
        | Cause::BackendHeaderTooLarge
        | Cause::BackendBadChunk
        | Cause::BackendUnaskedUpgrade => [b'P', phase],
        other => match other.side() {
            // Refused for what it was, before anything was done about it.
            Side::Client | Side::Ours => *b"PR",
            Side::Backend => [b'S', phase],
        },
    };
    [who, when, b'-', b'-']
}
