//! `/api/pools/{pool}/backends/{name}`: one backend, and what operators ask of it.

use serde::Deserialize;
use weir_model::{health::Fact, pool::Pool, status::State};

use super::{Admin, answer::Answer, status, wire::Request};

/// The largest weight, as in the file.
const MOST_WEIGHT: u32 = 1_000_000;

/// The body of a PUT; what is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    state: Option<String>,
    weight: Option<u32>,
}

/// Answers GET and PUT.
pub(super) fn answer(admin: &Admin, request: &Request, pool: &str, name: &str) -> Result<Answer, Answer> {
    let snapshot = admin.cell.load();
    let Some((_, found)) = snapshot.pool(pool) else {
        let names = snapshot.pools.iter().map(|pool| &*pool.name);
        let pool = pool.escape_debug();
        return Err(Answer::error(404, format!("there is no pool `{pool}`"), listed(names)));
    };
    let Some(index) = found.backends.iter().position(|backend| *backend.name == *name) else {
        let names = found.backends.iter().map(|backend| &*backend.name);
        let cause = format!("the pool `{pool}` has no backend `{}`", name.escape_debug());
        return Err(Answer::error(404, cause, listed(names)));
    };
    if request.method == "PUT" {
        put(admin, found, index, &request.body)?;
    }
    Ok(Answer::json(200, &status::backend_view(found, &found.backends[index], (admin.clock)(), admin.stamp)))
}

fn put(admin: &Admin, pool: &Pool, index: usize, body: &[u8]) -> Result<(), Answer> {
    const FORM: &str =
        r#"send {"state": "active", "draining" or "disabled"}, {"weight": 0 to 1000000}, or both"#;
    let wrong = |cause: String| Answer::error(400, cause, FORM);
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| wrong(format!("the body is not what is expected: {error}")))?;
    let state = match &wish.state {
        Some(word) => Some(
            State::of_word(word).ok_or_else(|| wrong(format!("`{}` is not a state", word.escape_debug())))?,
        ),
        None => None,
    };
    if wish.weight.is_some_and(|weight| weight > MOST_WEIGHT) {
        return Err(wrong(format!("the weight is above {MOST_WEIGHT}")));
    }
    if state.is_none() && wish.weight.is_none() {
        return Err(wrong("the body says neither a state nor a weight".into()));
    }
    let backend = &pool.backends[index];
    let now = (admin.clock)();
    let ordered = admin.upgrader.unless_held(|| {
        backend.order(state, wish.weight, now);
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
    if let Some(weight) = wish.weight {
        said.push_str(&format!(" weight={weight}"));
    }
    (admin.log)(&format!("{said}: set by an operator"));
    Ok(())
}

/// What there is instead, as a remedy.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<_> = names.take(SHOWN + 1).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        names[SHOWN] = "…".into();
    }
    format!("there are: {}", names.join(", "))
}
