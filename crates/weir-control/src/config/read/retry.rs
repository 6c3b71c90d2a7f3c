//! What a route tries again.

use weir_model::draft::{RetryDraft, RetryMethodsDraft};

use super::{Reader, keys};
use crate::config::yaml::{Node, Value};

/// Reads `retry`.
pub(super) fn retry(reader: &mut Reader, node: &Node) -> Option<RetryDraft> {
    let fields = reader.fields(node, &keys::RETRY)?;
    Some(RetryDraft {
        retries: fields.setting(reader, "retries", Reader::number),
        retry_on: fields.setting(reader, "retry_on", |reader, node| {
            let nodes = reader.one_or_more(node);
            Some(nodes.iter().filter_map(|node| reader.text(node)).collect())
        }),
        per_try: fields.setting(reader, "per_try", Reader::timeout),
        budget: fields.setting(reader, "budget", Reader::share_or_none),
        methods: fields.setting(reader, "methods", methods),
    })
}

fn methods(reader: &mut Reader, node: &Node) -> Option<RetryMethodsDraft> {
    match &node.value {
        Value::Scalar { text, .. } if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            let words = [("idempotent", true), ("all", false)];
            let idempotent = reader.word(node, &words, &[])?;
            Some(if idempotent { RetryMethodsDraft::Idempotent } else { RetryMethodsDraft::All })
        }
        _ => {
            let nodes = reader.one_or_more(node);
            Some(RetryMethodsDraft::These(nodes.iter().filter_map(|node| reader.text(node)).collect()))
        }
    }
}
