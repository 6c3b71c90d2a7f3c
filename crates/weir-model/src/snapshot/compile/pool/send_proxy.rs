//! The PROXY header of a pool, compiled.

use crate::{
    draft::{PoolDraft, SendProxyDraft},
    pool::{ProxyTlv, ProxyVersion, SendProxy},
    problem::{Located, Problem},
};

/// Compiles `send_proxy_protocol`.
pub(super) fn send_proxy(pool: &PoolDraft, problems: &mut Vec<Problem>) -> Option<SendProxy> {
    let SendProxyDraft { version, tlvs } = pool.send_proxy.as_ref()?.value.as_ref()?;
    if let (ProxyVersion::V1, Some(first)) = (version, tlvs.first()) {
        let cause = "a PROXY header of version 1 has no room for anything but addresses";
        problems.push(Problem::error(first.span, cause, "use `version: v2`, or remove `tlvs`"));
    }
    let mut said: Vec<ProxyTlv> = Vec::new();
    for Located { value, span } in tlvs {
        if said.contains(value) {
            let cause = format!("`{}` stands here twice", value.word());
            problems.push(Problem::error(*span, cause, "remove one of them"));
        } else {
            said.push(*value);
        }
    }
    Some(SendProxy { version: *version, tlvs: said })
}
