//! Settings of the process.

use weir_model::{
    draft::ProcessDraft,
    problem::{Located, Problem},
    snapshot::Secret,
};

use super::{Reader, fields::Fields, keys};
use crate::config::yaml::{Entry, Node, Value};

/// Reads `admin`, `zone`, `limits`, `workers`, `shutdown` and `upgrade`. Another file may have set them before.
pub(super) fn process(reader: &mut Reader, fields: &Fields<'_>, draft: &mut ProcessDraft) {
    if let Some(entry) = fields.entry("admin") {
        admin(reader, entry, draft);
    }
    let zone = fields.text(reader, "zone");
    once(reader, &mut draft.zone, zone, "zone");
    if let Some(limits) = fields.node("limits").and_then(|node| reader.fields(node, &keys::LIMITS)) {
        let connections = limits.setting(reader, "connections", Reader::connections);
        once(reader, &mut draft.connections, connections, "limits.connections");
    }
    if let Some(node) = fields.node("workers") {
        workers(reader, fields, node, draft);
    }
    if let Some(shutdown) = fields.node("shutdown").and_then(|node| reader.fields(node, &keys::SHUTDOWN)) {
        let announce = shutdown.setting(reader, "announce", Reader::delay);
        once(reader, &mut draft.shutdown_announce, announce, "shutdown.announce");
        let drain = shutdown.setting(reader, "drain", |reader, node| reader.delay_or_none(node));
        once(reader, &mut draft.shutdown_drain, drain, "shutdown.drain");
    }
    if let Some(upgrade) = fields.node("upgrade").and_then(|node| reader.fields(node, &keys::UPGRADE)) {
        let drain = upgrade.setting(reader, "drain", |reader, node| reader.delay_or_none(node));
        once(reader, &mut draft.upgrade_drain, drain, "upgrade.drain");
    }
}

fn admin(reader: &mut Reader, entry: &Entry, draft: &mut ProcessDraft) {
    let Some(admin) = reader.fields(&entry.value, &keys::ADMIN) else { return };
    if admin.node("bind").is_none() && !admin.strange {
        draft.admin_without_bind.get_or_insert(entry.key.span);
    }
    let bind = admin.text(reader, "bind").map(|text| reader.bind(text));
    once(reader, &mut draft.admin, bind, "admin.bind");
    let token = admin.setting(reader, "token_file", token);
    draft.admin_token_unread |= token.is_none() && admin.node("token_file").is_some();
    once(reader, &mut draft.admin_token, token, "admin.token_file");
}

/// What the file of a token holds.
fn token(reader: &mut Reader, node: &Node) -> Option<Secret> {
    const MOST: u64 = 4096;
    let name = reader.text(node)?;
    let content = reader.content(&name, MOST)?;
    match String::from_utf8(content) {
        Ok(text) => Some(Secret::new(text.trim())),
        Err(_) => {
            let remedy = "make one with `openssl rand -hex 32 > FILE`";
            reader.error(name.span, format!("the file `{}` is not text", name.value), remedy);
            None
        }
    }
}

fn workers(reader: &mut Reader, fields: &Fields<'_>, node: &Node, draft: &mut ProcessDraft) {
    if let Value::Map(_) = node.value {
        let Some(long) = reader.fields(node, &keys::WORKERS) else { return };
        let count = long.setting(reader, "count", count);
        once(reader, &mut draft.workers, count, "workers");
        let pin = long.setting(reader, "pin", Reader::flag);
        once(reader, &mut draft.pin, pin, "workers.pin");
        return;
    }
    let short = fields.setting(reader, "workers", count);
    once(reader, &mut draft.workers, short, "workers");
}

/// `auto`, or how many.
fn count(reader: &mut Reader, node: &Node) -> Option<Option<u32>> {
    reader.number_or(node, "auto")
}

/// Keeps a setting, unless another file has given it.
pub(super) fn once<T>(
    reader: &mut Reader,
    slot: &mut Option<Located<T>>,
    new: Option<Located<T>>,
    key: &str,
) {
    match (&*slot, &new) {
        (Some(first), Some(second)) => {
            let problem =
                Problem::error(second.span, format!("`{key}` is given in two files"), "keep one of them");
            let problem = problem.with_related(first.span, "the first one is here");
            reader.problems.push(problem);
        }
        (None, Some(_)) => *slot = new,
        (_, None) => {}
    }
}
