//! Routes: match, action, and what changes on the way.

use weir_model::{
    draft::{
        ActionDraft, ArmDraft, ClientCertDraft, ConditionDraft, Draft, EditsDraft, GrpcDraft, NamedTexts,
        PathEditDraft, RedirectDraft, RespondDraft, RewriteDraft, RouteDraft, SharedRouteDraft, Text,
        TextDraft,
    },
    problem::Located,
};

use super::{Reader, fields::Fields, keys, retry::retry};
use crate::config::yaml::{Node, Value};

/// Reads `routes` at the top of a file.
pub(super) fn shared(reader: &mut Reader, top: &Fields<'_>, draft: &mut Draft) {
    let Some(node) = top.node("routes") else { return };
    let (nodes, broken) = reader.watched(|reader| reader.list(node, "routes"));
    draft.routes_incomplete |= broken;
    for node in nodes {
        let (mut shared, broken) = reader.watched(|reader| shared_route(reader, node));
        shared.route.broken = broken;
        draft.routes.push(shared);
    }
}

fn shared_route(reader: &mut Reader, node: &Node) -> SharedRouteDraft {
    let Some(fields) = reader.fields(node, &keys::SHARED_ROUTE) else {
        return SharedRouteDraft::default();
    };
    if fields.node("listeners").is_none() && !fields.strange {
        let cause = "this route does not say which listeners it belongs to";
        reader.error(node.span, cause, "add `listeners: [NAME]`, or move it into a listener");
    }
    SharedRouteDraft { listeners: fields.texts(reader, "listeners"), route: whole(reader, node, &fields) }
}

/// Reads one route of a listener.
pub(super) fn route(reader: &mut Reader, node: &Node) -> RouteDraft {
    let (mut draft, broken) = reader.watched(|reader| match reader.fields(node, &keys::ROUTE) {
        Some(fields) => whole(reader, node, &fields),
        None => RouteDraft { span: node.span, ..RouteDraft::default() },
    });
    draft.broken = broken;
    draft
}

fn whole(reader: &mut Reader, node: &Node, fields: &Fields<'_>) -> RouteDraft {
    let mut draft = RouteDraft {
        span: node.span,
        name: fields.text(reader, "name"),
        conditions: fields.node("match").map_or_else(Vec::new, |node| conditions(reader, node)),
        actions: actions(reader, fields),
        rewrite: fields.setting(reader, "rewrite", rewrite),
        ..RouteDraft::default()
    };
    settings(reader, fields, &mut draft);
    draft
}

/// The keys that may have defaults.
pub(super) fn settings(reader: &mut Reader, fields: &Fields<'_>, draft: &mut RouteDraft) {
    draft.request_headers = fields.setting(reader, "request_headers", edits);
    draft.response_headers = fields.setting(reader, "response_headers", edits);
    draft.grpc_web = fields.setting(reader, "grpc_web", Reader::flag);
    draft.timeout = fields.setting(reader, "timeout", Reader::timeout);
    draft.retry = fields.setting(reader, "retry", retry);
}

/// A map whose keys all hold, or a list of such maps of which any holds.
fn conditions(reader: &mut Reader, node: &Node) -> Vec<ConditionDraft> {
    let nodes = reader.one_or_more(node);
    nodes.iter().filter_map(|node| condition(reader, node)).collect()
}

fn condition(reader: &mut Reader, node: &Node) -> Option<ConditionDraft> {
    let fields = reader.fields(node, &keys::MATCH)?;
    Some(ConditionDraft {
        span: node.span,
        host: fields.texts(reader, "host"),
        path: fields.texts(reader, "path"),
        method: fields.texts(reader, "method"),
        headers: named_texts(reader, fields.node("headers"), "header fields by name"),
        query: named_texts(reader, fields.node("query"), "query parameters by name"),
        cookies: named_texts(reader, fields.node("cookies"), "cookies by name"),
        source: fields.texts(reader, "source"),
        sni: fields.texts(reader, "sni"),
        alpn: fields.texts(reader, "alpn"),
        client_cert: fields.setting(reader, "client_cert", client_cert),
        grpc: fields.setting(reader, "grpc", grpc),
        not: fields.node("not").map_or_else(Vec::new, |node| conditions(reader, node)),
    })
}

fn client_cert(reader: &mut Reader, node: &Node) -> Option<ClientCertDraft> {
    let fields = reader.fields(node, &keys::CLIENT_CERT)?;
    let subject = fields.node("subject").map_or(&[][..], |node| reader.one_or_more(node));
    Some(ClientCertDraft {
        san: fields.texts(reader, "san"),
        subject: subject.iter().filter_map(|node| text_match(reader, node)).collect(),
        present: fields.setting(reader, "present", Reader::flag),
    })
}

fn grpc(reader: &mut Reader, node: &Node) -> Option<GrpcDraft> {
    let fields = reader.fields(node, &keys::GRPC)?;
    let draft =
        GrpcDraft { service: fields.texts(reader, "service"), method: fields.texts(reader, "method") };
    // A misspelt key was to be one of the two.
    (!fields.strange || !draft.service.is_empty() || !draft.method.is_empty()).then_some(draft)
}

fn named_texts(reader: &mut Reader, node: Option<&Node>, what: &str) -> Vec<NamedTexts> {
    let named = node.map_or_else(Vec::new, |node| reader.named(node, what));
    let read = |(name, node): (Text, &Node)| {
        let nodes = reader.one_or_more(node);
        (name, nodes.iter().filter_map(|node| text_match(reader, node)).collect())
    };
    named.into_iter().map(read).collect()
}

/// A text, `~` and an expression, or a map with one way of comparing.
fn text_match(reader: &mut Reader, node: &Node) -> Option<Located<TextDraft>> {
    let Value::Map(entries) = &node.value else {
        let text = reader.text(node)?;
        let draft = match text.value.strip_prefix('~') {
            Some(expression) => TextDraft::Regex(expression.to_owned()),
            None => TextDraft::Exact(text.value),
        };
        return Some(Located::new(draft, node.span));
    };
    let fields = reader.fields(node, &keys::TEXT)?;
    if entries.len() != 1 {
        let remedy = "write one of `exact`, `prefix`, `regex`, `present`; a list means any of its members";
        reader.error(node.span, "a comparison has exactly one key", remedy);
        return None;
    }
    let exact = fields.text(reader, "exact").map(|text| TextDraft::Exact(text.value));
    let prefix = fields.text(reader, "prefix").map(|text| TextDraft::Prefix(text.value));
    let regex = fields.text(reader, "regex").map(|text| TextDraft::Regex(text.value));
    let present = fields.node("present").and_then(|node| reader.flag(node)).map(TextDraft::Present);
    exact.or(prefix).or(regex).or(present).map(|draft| Located::new(draft, node.span))
}

fn actions(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Located<ActionDraft>> {
    let mut actions = Vec::new();
    if let Some(pool) = fields.text(reader, "pool") {
        actions.push(Located::new(ActionDraft::Pool(pool.clone()), pool.span));
    }
    if let Some(entry) = fields.entry("split") {
        let nodes = reader.list(&entry.value, "pools and weights");
        let arms = nodes.iter().filter_map(|node| arm(reader, node)).collect();
        actions.push(Located::new(ActionDraft::Split(arms), entry.key.span));
    }
    if let Some(entry) = fields.entry("redirect")
        && let Some(redirect) = redirect(reader, &entry.value)
    {
        actions.push(Located::new(ActionDraft::Redirect(redirect), entry.key.span));
    }
    if let Some(entry) = fields.entry("respond")
        && let Some(respond) = respond(reader, &entry.value)
    {
        actions.push(Located::new(ActionDraft::Respond(respond), entry.key.span));
    }
    actions.sort_by_key(|action| action.span);
    actions
}

fn arm(reader: &mut Reader, node: &Node) -> Option<ArmDraft> {
    let fields = reader.fields(node, &keys::ARM)?;
    if fields.node("pool").is_none() && !fields.strange {
        reader.error(node.span, "this arm of the split names no pool", "add `pool: NAME`");
    }
    Some(ArmDraft { pool: fields.text(reader, "pool"), weight: fields.number(reader, "weight") })
}

fn redirect(reader: &mut Reader, node: &Node) -> Option<RedirectDraft> {
    let fields = reader.fields(node, &keys::REDIRECT)?;
    Some(RedirectDraft {
        scheme: fields.text(reader, "scheme"),
        host: fields.text(reader, "host"),
        port: fields.number(reader, "port"),
        path: PathEditDraft {
            whole: fields.text(reader, "path"),
            prefix: fields.text(reader, "path_prefix"),
            regex: None,
        },
        code: fields.number(reader, "code"),
    })
}

fn respond(reader: &mut Reader, node: &Node) -> Option<RespondDraft> {
    let fields = reader.fields(node, &keys::RESPOND)?;
    Some(RespondDraft {
        status: fields.number(reader, "status"),
        body: fields.node("body").and_then(|node| reader.template(node)),
        headers: fields.node("headers").map_or_else(Vec::new, |node| pairs(reader, node)),
    })
}

fn rewrite(reader: &mut Reader, node: &Node) -> Option<RewriteDraft> {
    let fields = reader.fields(node, &keys::REWRITE)?;
    let regex = fields.node("path_regex").and_then(|node| path_regex(reader, node));
    Some(RewriteDraft {
        path: PathEditDraft {
            whole: fields.text(reader, "path"),
            prefix: fields.text(reader, "path_prefix"),
            regex,
        },
        host: fields.text(reader, "host"),
    })
}

fn path_regex(reader: &mut Reader, node: &Node) -> Option<(Text, Text)> {
    let fields = reader.fields(node, &keys::PATH_REGEX)?;
    for key in ["from", "to"] {
        if fields.node(key).is_none() && !fields.strange {
            reader.error(
                node.span,
                format!("`path_regex` has no `{key}`"),
                "write `{ from: \"^/old/(.*)\", to: \"/new/$1\" }`",
            );
        }
    }
    let from = fields.text(reader, "from");
    let to = fields.node("to").and_then(|node| reader.replacement(node));
    Some((from?, to?))
}

fn edits(reader: &mut Reader, node: &Node) -> Option<EditsDraft> {
    let fields = reader.fields(node, &keys::EDITS)?;
    let remove = fields.node("remove").map_or(&[][..], |node| match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    });
    Some(EditsDraft {
        set: fields.node("set").map_or_else(Vec::new, |node| pairs(reader, node)),
        add: fields.node("add").map_or_else(Vec::new, |node| pairs(reader, node)),
        remove: remove.iter().filter_map(|node| reader.text(node)).collect(),
    })
}

/// Header fields to write: names and values.
pub(super) fn pairs(reader: &mut Reader, node: &Node) -> Vec<(Text, Text)> {
    let named = reader.named(node, "header fields by name");
    named.into_iter().filter_map(|(name, node)| Some((name, reader.template(node)?))).collect()
}
