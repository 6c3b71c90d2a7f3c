//! The schema takes what weir takes, and the tables say the truth about defaults, ranges and words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use weir_model::{problem::Severity, status::Registry};

use super::*;
use crate::config::{self, Style, Surroundings, yaml};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every YAML file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a valid schema")
}

/// What an editor makes of a file; none if it is not YAML, or says nothing.
fn instance(path: &Path) -> Option<Value> {
    let text = String::from_utf8(fs::read(path).unwrap()).ok()?;
    let mut problems = Vec::new();
    let root = yaml::parse(&text, 0, &mut problems).filter(|_| problems.is_empty())?;
    Some(json_of(&root)).filter(|value| !value.is_null())
}

/// By the core schema of YAML 1.2.
fn json_of(node: &yaml::Node) -> Value {
    match &node.value {
        yaml::Value::Empty => Value::Null,
        yaml::Value::Scalar { text, plain: true } if text == "true" || text == "false" => {
            json!(text == "true")
        }
        yaml::Value::Scalar { text, plain: true } => match text.parse::<f64>() {
            Ok(number) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                text.parse::<i64>().map_or_else(|_| json!(number), |number| json!(number))
            }
            _ => json!(text),
        },
        yaml::Value::Scalar { text, plain: false } => json!(text),
        yaml::Value::List(items) => items.iter().map(json_of).collect(),
        yaml::Value::Map(entries) => Value::Object(
            entries.iter().map(|entry| (entry.key.value.clone(), json_of(&entry.value))).collect(),
        ),
    }
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn it_takes_every_good_file() {
    let validator = validator();
    let mut count = 0;
    for path in [files(&root().join("tests/golden/good")), files(&root().join("examples"))].concat() {
        let Some(instance) = instance(&path) else { continue };
        let wrong: Vec<_> = validator
            .iter_errors(&instance)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        count += 1;
    }
    assert!(count > 20, "only {count} files were found");
}

/// Files whose mistakes are not of form: what they name is missing, or a text is no text of that kind.
const NOT_OF_FORM: [&str; 13] = [
    "balance",
    "no_effect",
    "route_rewrites",
    "environment",
    "include",
    "include_cycle",
    "log_off",
    "log_path_none",
    "token_missing",
    "value_not_yet",
    "error_page_missing",
    "unix_sockets",
    "variables",
];

#[test]
fn it_refuses_every_file_whose_form_is_wrong() {
    let validator = validator();
    let mut count = 0;
    for path in files(&root().join("tests/golden/bad")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.components().any(|part| part.as_os_str() == "files") {
            // What other files name is judged with them.
            continue;
        }
        let Some(instance) = instance(&path).filter(|_| !NOT_OF_FORM.contains(&name.as_str())) else {
            continue;
        };
        // What the reader refuses is wrong in form; what compiling refuses need not be.
        let loaded = config::load_in(&path, &Surroundings::default()).unwrap();
        if loaded.problems.iter().any(|problem| problem.severity == Severity::Error) {
            assert!(!validator.is_valid(&instance), "{} is accepted", path.display());
            count += 1;
        }
    }
    assert!(count > 20, "only {count} files were found");
}

/// The least that a map has to say.
fn sample(keys: &Keys) -> Value {
    match keys.id {
        "ACCEPT_PROXY" => json!({ "trust": "10.0.0.0/8" }),
        "LISTENER" => json!({ "bind": "127.0.0.1:80", "protocol": "http", "pool": "app" }),
        "POOL" => json!({ "backends": ["10.0.0.1:80", "10.0.0.2:80"] }),
        "ROUTE" => json!({ "match": { "path": "/x/*" }, "pool": "app" }),
        "SHARED_ROUTE" => json!({ "listeners": ["web"], "match": { "path": "/y/*" }, "pool": "app" }),
        "TEXT" => json!({ "exact": "a" }),
        "ARM" => json!({ "pool": "app" }),
        "REDIRECT" => json!({ "host": "a.example.com" }),
        "PATH_REGEX" => json!({ "from": "a", "to": "b" }),
        "BACKEND" => json!({ "address": "10.0.0.3:80" }),
        "DISCOVER" => json!({ "dns": "app.internal:80" }),
        "HEALTH" => json!({ "tcp": {} }),
        "HTTP_PROBE" => json!({ "path": "/" }),
        "STICKY" => json!({ "cookie": "WEIR" }),
        "BALANCE" => json!({ "policy": "random" }),
        "SEND_PROXY" => json!({ "version": "v2" }),
        "TLS" => json!({ "certificates": [sample_of("CERTIFICATE")] }),
        "ACME" => {
            json!({ "directory": "https://acme.example/dir", "domains": "a.example", "storage": "storage" })
        }
        "CERTIFICATE" => json!({ "cert": golden("site.pem"), "key": golden("site.key") }),
        "CLIENT_AUTH" => json!({ "ca": golden("root.pem") }),
        "ADMIN" => json!({ "bind": "127.0.0.1:9900" }),
        "ACCESS_LOG" => json!({ "path": "-" }),
        _ => json!({}),
    }
}

/// A file that stands beside the golden ones.
fn golden(name: &str) -> String {
    root().join("tests/golden/tls").join(name).display().to_string()
}

/// TLS ends where it is spoken.
fn settle_tls(listener: &mut Value) {
    if listener["protocol"] == "https" || listener.get("tls").is_some() {
        let mut tls = json!({ "protocol": "https", "tls": sample_of("TLS") });
        merge(&mut tls, listener);
        tls["protocol"] = json!("https");
        *listener = tls;
    }
}

/// Puts `inner` into the least configuration, at each place where a map of this kind may stand.
fn documents(keys: &Keys, inner: &Value) -> Vec<Value> {
    if std::ptr::eq(keys, &raw const TOP) {
        let mut top = json!({
            "listeners": { "web": sample_of("LISTENER") },
            "pools": { "app": sample_of("POOL") },
            "zone": "a",
        });
        merge(&mut top, inner);
        return vec![top];
    }
    let mut found = Vec::new();
    for outer in
        reachable().into_iter().filter(|outer| !outer.id.ends_with("_DEFAULTS") && outer.id != keys.id)
    {
        for key in outer.keys() {
            let Some(value) = wrapped(&key.form, keys, inner) else { continue };
            let mut around = sample(outer);
            if outer.one_of.contains(&key.name) {
                outer.one_of.iter().for_each(|other| drop(around.as_object_mut().unwrap().remove(*other)));
            }
            if outer.id == "HEALTH" && ["http", "tls", "udp", "grpc"].contains(&key.name) {
                around.as_object_mut().unwrap().remove("tcp");
            }
            merge(&mut around, &json!({ key.name: value }));
            if outer.id == "LISTENER" {
                settle_tls(&mut around);
            }
            found.extend(documents(outer, &around));
        }
    }
    found
}

fn sample_of(id: &str) -> Value {
    reachable().into_iter().find(|keys| keys.id == id).map_or(Value::Null, sample)
}

/// Adds the keys of a map; maps in it are merged, everything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

/// A value of this form with `inner`, a map of that kind, in it.
fn wrapped(form: &Form, keys: &Keys, inner: &Value) -> Option<Value> {
    match form {
        Form::Map(map) => std::ptr::eq(*map, keys).then(|| inner.clone()),
        Form::Named(form) => Some(json!({ "web": wrapped(form, keys, inner)? })),
        Form::List(form) => Some(json!([wrapped(form, keys, inner)?])),
        Form::OneOrMore(form) | Form::Some(form) => wrapped(form, keys, inner),
        Form::AnyOf(forms) => forms.iter().find_map(|form| wrapped(form, keys, inner)),
        _ => None,
    }
}

/// What becomes of a document.
fn outcome(document: &Value) -> Result<String, String> {
    let loaded = config::from_text_in("weir.yaml", &document.to_string(), &Surroundings::default());
    match config::compile(loaded, 1, &mut Registry::new(1)) {
        Ok(compiled) => Ok(format!("{:#?}", compiled.snapshot)),
        Err(refusal) => Err(refusal.render(Style::Plain)),
    }
}

/// A map of this kind with one more key.
fn with(keys: &Keys, key: &Key, value: &Value) -> Value {
    let mut inner = sample(keys);
    merge(&mut inner, &json!({ key.name: value }));
    if keys.id == "LISTENER" {
        settle_tls(&mut inner);
    }
    inner
}

fn kinds() -> impl Iterator<Item = &'static Keys> {
    reachable().into_iter().filter(|keys| !keys.id.ends_with("DEFAULTS"))
}

#[test]
fn a_default_that_is_written_changes_nothing() {
    let mut count = 0;
    for keys in kinds() {
        for key in keys.keys() {
            let Default::Is(default) = key.default else { continue };
            let value = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
            let written = documents(keys, &with(keys, key, &value));
            assert!(!written.is_empty(), "{} stands nowhere", keys.what);
            for (without, written) in documents(keys, &sample(keys)).iter().zip(&written) {
                let (without, written) = (outcome(without).unwrap(), outcome(written));
                assert_eq!(written.as_ref(), Ok(&without), "{} in {} is not {default}", key.name, keys.what);
                count += 1;
            }
        }
    }
    assert!(count > 50, "only {count} defaults were tried");
}

#[test]
fn numbers_end_where_the_tables_say() {
    let mut count = 0;
    for keys in kinds() {
        for key in keys.keys() {
            let Form::Number(least, most) = key.form else { continue };
            let tried = |number: i64| {
                let documents = documents(keys, &with(keys, key, &json!(number)));
                outcome(&documents[0]).err().unwrap_or_default()
            };
            for inside in [least, most] {
                let said = tried(inside.into());
                let refused = said.contains("cannot be") || said.contains("expected");
                assert!(!refused, "{} in {}: {said}", key.name, keys.what);
            }
            for outside in [i64::from(least) - 1, i64::from(most) + 1] {
                assert_ne!(tried(outside), "", "{} in {} can be {outside}", key.name, keys.what);
            }
            count += 1;
        }
    }
    assert!(count > 8, "only {count} numbers were tried");
}

#[test]
fn words_are_those_that_the_reader_knows() {
    let mut count = 0;
    for keys in kinds() {
        for key in keys.keys() {
            let words = match key.form {
                Form::Words(words) | Form::NumberOr(words) | Form::CountOr(words) => words,
                Form::AnyOf([Form::Words(words), ..]) => words,
                _ => continue,
            };
            let said = |word: &str| {
                let documents = documents(keys, &with(keys, key, &json!(word)));
                outcome(&documents[0]).err().unwrap_or_default()
            };
            for word in words {
                assert_eq!(said(word), "", "{} in {}", key.name, keys.what);
            }
            assert_ne!(said("nonsense"), "", "{} in {}", key.name, keys.what);
            count += 1;
        }
    }
    assert!(count > 8, "only {count} keys were tried");
}

/// Calls `each` for every key that a value uses, with the map that it stands in.
fn used(form: &Form, value: &Value, each: &mut dyn FnMut(&'static Keys, &str)) {
    match (form, value) {
        (Form::Map(keys), Value::Object(entries)) => {
            for (name, value) in entries {
                each(keys, name);
                if let Some(key) = keys.keys().find(|key| key.name == name) {
                    used(&key.form, value, each);
                }
            }
        }
        (Form::Named(form), Value::Object(entries)) => {
            entries.values().for_each(|value| used(form, value, each));
        }
        (Form::List(form) | Form::OneOrMore(form) | Form::Some(form), Value::Array(items)) => {
            items.iter().for_each(|item| used(form, item, each));
        }
        (Form::OneOrMore(form) | Form::Some(form), value) => used(form, value, each),
        (Form::AnyOf(forms), value) => forms.iter().for_each(|form| used(form, value, each)),
        _ => {}
    }
}

#[test]
fn the_reference_example_shows_every_key() {
    let mut shown = std::collections::BTreeSet::new();
    for path in files(&root().join("examples/reference")) {
        let instance = instance(&path).unwrap();
        used(&Form::Map(&TOP), &instance, &mut |keys, key| _ = shown.insert((keys.id, key.to_owned())));
    }
    for keys in kinds().filter(|keys| keys.id != "SHARED_ROUTE") {
        // A pool for datagrams has no listener yet that could use it, and an example has no pool that nobody uses.
        for key in keys.keys().filter(|key| key.name != "server_id") {
            let found = shown.contains(&(keys.id, key.name.to_owned()));
            assert!(found, "examples/reference does not show `{}` in {}", key.name, keys.what);
        }
    }
}

/// Calls `each` with the value once for every value inside of it, replaced by `other`.
fn replaced(value: &Value, other: &Value, each: &mut dyn FnMut(Value)) {
    match value {
        Value::Object(entries) => {
            for (key, inner) in entries {
                replaced(inner, other, &mut |inner| {
                    let mut entries = entries.clone();
                    entries[key] = inner;
                    each(Value::Object(entries));
                });
            }
        }
        Value::Array(items) => {
            for (place, inner) in items.iter().enumerate() {
                replaced(inner, other, &mut |inner| {
                    let mut items = items.clone();
                    items[place] = inner;
                    each(Value::Array(items));
                });
            }
        }
        _ => {}
    }
    each(other.clone());
}

#[test]
fn it_refuses_nothing_that_weir_takes() {
    let validator = validator();
    let others = json!([0, 70_000, true, "none", "5s", "a", [], {}]);
    let (mut taken, mut refused) = (0, 0);
    let everything = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("everything_");
    for path in files(&root().join("tests/golden/good")).into_iter().filter(everything) {
        let whole = instance(&path).unwrap();
        for other in others.as_array().unwrap() {
            replaced(&whole, other, &mut |document| {
                // Where the file is, so that files which it names are found.
                let loaded = config::from_text_in(
                    &path.to_string_lossy(),
                    &document.to_string(),
                    &Surroundings::default(),
                );
                let readable = loaded.problems.iter().all(|problem| problem.severity != Severity::Error);
                if readable && config::compile(loaded, 1, &mut Registry::new(1)).is_ok() {
                    assert!(
                        validator.is_valid(&document),
                        "{} with {other} is refused:\n{document:#}",
                        path.display()
                    );
                    taken += 1;
                } else {
                    refused += usize::from(!validator.is_valid(&document));
                }
            });
        }
    }
    assert!(taken > 200 && refused > 200, "{taken} were taken, {refused} refused by both");
}
