//! `/api/pools/{pool}/backends/{name}`: one backend, and what operators ask of it.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use weir_model::{health::Fact, pool::Pool, status::State};

use super::{Admin, answer::Answer, status, wire::Request};
use crate::trouble::instead;

/// The largest weight, as in the file.
const MOST_WEIGHT: u32 = 1_000_000;

/// The body of a PUT; what is absent stays as it is.
#[derive(Debug, Default)]
struct Wish {
    state: Option<State>,
    weight: Option<u32>,
}

impl Wish {
    /// What a body says; or what is wrong with it.
    fn read(body: &[u8]) -> Result<Self, String> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| match error.is_data() {
            true => "the body is not a JSON object".to_owned(),
            false => format!("the body is not JSON: {error}"),
        })?;
        let mut seen = HashSet::new();
        if let Some((key, _)) = fields.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(format!("the key `{}` is given twice", key.escape_debug()));
        }
        let mut wish = Self::default();
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match &**key {
                "state" => wish.state = Some(state(value)?),
                "weight" => wish.weight = Some(weight(value)?),
                _ => return Err(format!("`{}` is neither `state` nor `weight`", key.escape_debug())),
            }
        }
        match wish {
            Self { state: None, weight: None } => Err("the body says neither a state nor a weight".into()),
            wish => Ok(wish),
        }
    }
}

/// The keys and values of an object as they are written. [`Value`] would keep the last of those that have the same key, and which
/// one was meant nobody knows.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(EachField)
    }
}

struct EachField;

impl<'de> Visitor<'de> for EachField {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

fn state(value: &Value) -> Result<State, String> {
    let state = value.as_str().and_then(State::of_word);
    state.ok_or_else(|| format!("`{}` is not a state", shown(value)))
}

fn weight(value: &Value) -> Result<u32, String> {
    let number = value.as_u64().ok_or_else(|| format!("`{}` is not a weight", shown(value)))?;
    let weight = u32::try_from(number).ok().filter(|weight| *weight <= MOST_WEIGHT);
    weight.ok_or_else(|| format!("the weight is above {MOST_WEIGHT}"))
}

/// A value in a sentence.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.escape_debug().to_string())
}

/// Answers GET and PUT.
pub(super) fn answer(admin: &Admin, request: &Request, pool: &str, name: &str) -> Result<Answer, Answer> {
    let snapshot = admin.cell.load();
    let Some((_, found)) = snapshot.pool(pool) else {
        let remedy = instead(pool, snapshot.pools.iter().map(|pool| &*pool.name));
        let pool = pool.escape_debug();
        return Err(Answer::error(404, format!("there is no pool `{pool}`"), remedy));
    };
    let Some(index) = found.backends.iter().position(|backend| *backend.name == *name) else {
        let cause = format!("the pool `{pool}` has no backend `{}`", name.escape_debug());
        let there = found.backends.iter().find(|backend| backend.endpoint.to_string() == name);
        let remedy = match there {
            Some(there) => format!("the one at that address is called `{}`", there.name),
            None => instead(name, found.backends.iter().map(|backend| &*backend.name)),
        };
        return Err(Answer::error(404, cause, remedy));
    };
    if request.method == "PUT" {
        put(admin, found, index, &request.body)?;
    }
    Ok(Answer::json(200, &status::backend_view(found, &found.backends[index], (admin.clock)(), admin.stamp)))
}

fn put(admin: &Admin, pool: &Pool, index: usize, body: &[u8]) -> Result<(), Answer> {
    const FORM: &str =
        r#"send {"state": "active", "draining" or "disabled"}, {"weight": 0 to 1000000}, or both"#;
    let Wish { state, weight } = Wish::read(body).map_err(|cause| Answer::error(400, cause, FORM))?;
    let backend = &pool.backends[index];
    let now = (admin.clock)();
    let ordered = admin.upgrader.unless_held(|| {
        backend.order(state, weight, now);
        admin.cell.drains().follow(pool, backend, now);
        if state == Some(State::Active) {
            // Whoever asks for it by name wants it now, whatever traffic said.
            backend.status.apply(Fact::Returned("taken back by an operator"), now);
        }
        // Workers build their sets of eligible backends anew.
        pool.status.touch();
    });
    if ordered.is_none() {
        return Err(Answer::error(503, "another process takes over just now", "ask again in a moment"));
    }
    let mut said = format!("pool={} backend={}", pool.name, backend.name);
    if let Some(state) = state {
        said.push_str(&format!(" state={}", state.word()));
    }
    if let Some(weight) = weight {
        said.push_str(&format!(" weight={weight}"));
    }
    (admin.log)(&format!("{said}: set by an operator"));
    Ok(())
}
