//! Settings of the process.

use weir_model::{
    draft::ProcessDraft,
    problem::{Located, Problem},
};

use super::{Reader, fields::Fields, keys};
use crate::config::yaml::{Node, Value};

/// Reads `admin`, `workers` and `shutdown`. Another file may have set them before.
pub(super) fn process(reader: &mut Reader, fields: &Fields<'_>, draft: &mut ProcessDraft) {
    if let Some(admin) = fields.node("admin").and_then(|node| reader.fields(node, &keys::ADMIN)) {
        let bind = admin.text(reader, "bind");
        once(reader, &mut draft.admin, bind, "admin.bind");
    }
    if let Some(node) = fields.node("workers") {
        workers(reader, fields, node, draft);
    }
    if let Some(shutdown) = fields.node("shutdown").and_then(|node| reader.fields(node, &keys::SHUTDOWN)) {
        let announce = shutdown.setting(reader, "announce", Reader::delay);
        once(reader, &mut draft.shutdown_announce, announce, "shutdown.announce");
        let drain = shutdown.setting(reader, "drain", |reader, node| {
            if super::found(node) == "`none`" { reader.timeout(node) } else { reader.delay(node) }
        });
        once(reader, &mut draft.shutdown_drain, drain, "shutdown.drain");
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
    match &node.value {
        Value::Scalar { text, .. } if text == "auto" => Some(None),
        Value::Scalar { text, .. } if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            reader.number(node).map(Some)
        }
        _ => {
            reader.expected("`auto` or a whole number", node);
            None
        }
    }
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
