//! `discover` of a pool, and the lists of backends that stand in files of their own.

use weir_model::{
    draft::{BackendDraft, DiscoverDraft, DockerDraft, SourceDraft, Text},
    problem::Located,
};

use super::{Place, Reader, fields::Fields, keys, pool};
use crate::config::{
    Loaded,
    yaml::{Node, Value},
};

/// Reads `discover`.
pub(super) fn discover(reader: &mut Reader, pool: &Fields<'_>) -> Option<DiscoverDraft> {
    let entry = pool.entry("discover")?;
    let span = entry.key.span;
    let Some(fields) = reader.fields(&entry.value, &keys::DISCOVER) else {
        return Some(DiscoverDraft { span, ..DiscoverDraft::default() });
    };
    let mut sources = Vec::new();
    let mut add =
        |reader: &mut Reader, key: &str, read: &dyn Fn(&mut Reader, &Node) -> Option<SourceDraft>| {
            if let Some(entry) = fields.entry(key)
                && let Some(source) = read(reader, &entry.value)
            {
                sources.push(Located::new(source, entry.key.span));
            }
        };
    add(reader, "dns", &|reader, node| reader.text(node).map(SourceDraft::Dns));
    add(reader, "srv", &|reader, node| reader.text(node).map(SourceDraft::Srv));
    add(reader, "file", &|reader, node| file(reader, node).map(SourceDraft::File));
    add(reader, "docker", &|reader, node| docker(reader, node).map(SourceDraft::Docker));
    sources.sort_by_key(|source| source.span);
    Some(DiscoverDraft {
        span,
        sources,
        refresh: fields.setting(reader, "refresh", Reader::period),
        servers: fields.texts(reader, "servers"),
    })
}

/// A path as seen from the file that names it. Whether the file is there is seen when it is asked for: it may come later.
fn file(reader: &mut Reader, node: &Node) -> Option<Text> {
    let name = reader.text(node)?;
    if name.value.is_empty() || name.value.ends_with('/') {
        reader.error(name.span, format!("`{}` names no file", name.value), "write the path of a file");
        return None;
    }
    match reader.path(&name.value).to_str() {
        Some(path) => Some(Text { value: path.to_owned(), ..name }),
        None => {
            reader.error(name.span, "the path is not UTF-8 text", "rename the folder");
            None
        }
    }
}

fn docker(reader: &mut Reader, node: &Node) -> Option<DockerDraft> {
    if !matches!(node.value, Value::Map(_)) {
        let pool = reader.text(node)?;
        let label = Text { value: format!("weir.pool={}", pool.value), ..pool };
        return Some(DockerDraft { label: Some(label), ..DockerDraft::default() });
    }
    let fields = reader.fields(node, &keys::DOCKER)?;
    Some(DockerDraft {
        host: fields.text(reader, "host"),
        label: fields.text(reader, "label"),
        port: fields.setting(reader, "port", Reader::number),
        network: fields.text(reader, "network"),
    })
}

/// Reads a file that is a list of backends.
pub(in crate::config) fn list(root: &Node, place: Place, loaded: &mut Loaded) -> Vec<BackendDraft> {
    let mut reader = Reader { problems: Vec::new(), place, paths: Vec::new() };
    let nodes = match &root.value {
        // What was cut short is no statement that there is nothing.
        Value::Empty => {
            let remedy = "write a list as under `backends`: `[10.0.0.1:8080]`";
            reader.error(root.span, "the file says nothing", remedy);
            &[][..]
        }
        _ => reader.list(root, "backends"),
    };
    let backends = nodes.iter().filter_map(|node| pool::backend(&mut reader, node)).collect();
    loaded.problems.append(&mut reader.problems);
    backends
}
