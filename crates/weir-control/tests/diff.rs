//! What a reload would change: by cases, and by properties of configurations made at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use weir_control::{config, reload::plan};
use weir_model::{
    snapshot::{
        Snapshot,
        diff::{Diff, adopt},
    },
    status::Registry,
};

fn compiled(text: &str, generation: u64, registry: &mut Registry) -> Snapshot {
    let compiled = config::compile(config::from_text("weir.yaml", text), generation, registry);
    compiled.unwrap_or_else(|refusal| panic!("{}\n{text}", refusal.render(config::Style::Plain))).snapshot
}

fn diff(old: &str, new: &str) -> Diff {
    let mut registry = Registry::new(1);
    Diff::of(&compiled(old, 1, &mut registry), &compiled(new, 2, &mut registry))
}

const FILE: &str = "
workers: 2
listeners:
  api: { bind: '127.0.0.1:81', protocol: http, routes: [ { match: { path: '~^/v[12]/' }, pool: b }, { name: rest, pool: a } ] }
  web: { bind: ['127.0.0.1:80', ':8080'], protocol: http, pool: a, timeouts: { idle: 5s } }
pools:
  a: { backends: ['10.0.0.1:80', { address: '10.0.0.2:80', name: two, weight: 3 }] }
  b: { backends: ['10.0.0.3:80'], health: { http: / } }
";

/// What changes if this text is replaced in [`FILE`], as `weir check --diff` prints it without what is kept.
fn changed(edits: &[(&str, &str)]) -> String {
    let mut text = FILE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let page = plan::page(&diff(FILE, &text));
    page.lines().filter(|line| !line.starts_with("keep ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_means_the_same_is_no_change() {
    assert_eq!(changed(&[]), "");
    // Order where it means nothing, defaults that are written out, another way to write the same.
    assert_eq!(
        changed(&[("idle: 5s", "idle: 5000ms"), ("weight: 3 }]", "weight: 3 }], balance: round_robin")]),
        ""
    );
    assert_eq!(
        changed(&[("  b: {", "  b: { connect_timeout: 2s,"), ("\nworkers: 2", "\nshutdown: {}\nworkers: 2")]),
        ""
    );
    let moved = FILE.replace("workers: 2\n", "") + "workers: 2\n";
    assert!(diff(FILE, &moved).is_empty());
}

#[test]
fn each_change_is_named() {
    for (edits, expected) in [
        (
            vec![("'127.0.0.1:80', ':8080'", "'127.0.0.1:82', ':8080'")],
            "bind    127.0.0.1:82 (web)\nclose   127.0.0.1:80 (web)\nchange  listener web (bind)\n",
        ),
        (vec![("idle: 5s", "idle: 6s")], "change  listener web (timeouts)\n"),
        (
            vec![("~^/v[12]/", "~^/v[123]/")],
            "change  listener api (routes)\nadd     route api/~^/v[123]/\nremove  route api/~^/v[12]/\n",
        ),
        (
            vec![("name: rest, pool: a", "name: rest, pool: b")],
            "change  listener api (routes)\nchange  route api/rest (pool)\n",
        ),
        (
            vec![("name: rest, pool: a", "name: rest, respond: { status: 204 }")],
            "change  listener api (routes)\nchange  route api/rest (respond)\n",
        ),
        (
            vec![("weight: 3", "weight: 4"), ("http: /", "http: /healthz")],
            "change  pool a (backends)\nchange  pool b (health)\nchange  backend a/two (weight)\n",
        ),
        (
            vec![("10.0.0.2:80", "10.0.0.22:80")],
            "change  pool a (backends)\nchange  backend a/two (address)\n",
        ),
        (vec![("'10.0.0.1:80', ", "")], "change  pool a (backends)\nremove  backend a/10.0.0.1:80\n"),
        (
            vec![("protocol: http, pool: a, timeouts: { idle: 5s }", "protocol: tcp, pool: a")],
            "drain   0.0.0.0:8080 (web)\ndrain   127.0.0.1:80 (web)\ndrain   [::]:8080 (web)\n\
             change  listener web (protocol, timeouts)\n",
        ),
        (
            vec![("workers: 2", "workers: 3\nshutdown: { drain: 1s }")],
            "set     shutdown.drain\nwait    for workers, which takes effect at the next start only\n",
        ),
    ] {
        let found = changed(&edits);
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(sorted(&found), sorted(expected), "{edits:?}:\n{found}");
    }
}

#[test]
fn the_order_of_routes_matters() {
    let routes = |first: &str, second: &str| {
        format!(
            "listeners: {{ web: {{ bind: ':80', protocol: http, routes: [{{ name: {first}, match: {{ method: GET }}, pool: a }}, \
             {{ name: {second}, match: {{ path: /x }}, pool: a }}] }} }}\npools: {{ a: {{ backends: ['10.0.0.1:80'] }} }}\n"
        )
    };
    let swapped = "listeners: { web: { bind: ':80', protocol: http, routes: [{ name: two, match: { path: /x }, pool: a }, \
                   { name: one, match: { method: GET }, pool: a }] } }\npools: { a: { backends: ['10.0.0.1:80'] } }\n";
    let diff = diff(&routes("one", "two"), swapped);
    assert_eq!(diff.listeners.changed, [("web".into(), vec!["routes"])]);
    assert_eq!((diff.routes.kept, diff.routes.is_empty()), (2, true));
}

#[test]
fn an_address_that_changes_hands_stays_bound() {
    let text = |a: &str, b: &str| {
        format!(
            "listeners: {{ a: {{ bind: '127.0.0.1:{a}', protocol: http, pool: p }}, b: {{ bind: '127.0.0.1:{b}', \
             protocol: http, pool: p }} }}\npools: {{ p: {{ backends: ['10.0.0.1:80'] }} }}\n"
        )
    };
    let found = diff(&text("80", "81"), &text("81", "80"));
    assert_eq!((found.binds.opened.len(), found.binds.closed.len(), found.binds.moved.len()), (0, 0, 2));
    assert_eq!(
        plan::line(&found),
        "moves 127.0.0.1:81 from b to a, 127.0.0.1:80 from a to b; changes listener a (bind), b (bind)"
    );
    // Two binds to any port are two sockets.
    let found = diff(&text("0", "0"), &text("0", "0"));
    assert_eq!((found.binds.kept.len(), found.is_empty()), (2, true));
}

#[test]
fn listeners_that_share_an_address_come_and_go_by_themselves() {
    let text = |listeners: &[(&str, &str)]| {
        let listener = |(name, sni): &(&str, &str)| {
            let sni = if sni.is_empty() { String::new() } else { format!("sni: [{sni}], ") };
            format!("{name}: {{ bind: '127.0.0.1:443', protocol: tls, {sni}pool: p }}")
        };
        let listeners: Vec<_> = listeners.iter().map(listener).collect();
        format!(
            "listeners: {{ {} }}\npools: {{ p: {{ backends: ['10.0.0.1:80'] }} }}\n",
            listeners.join(", ")
        )
    };
    let before = text(&[("a", "a.example"), ("b", "b.example"), ("rest", "")]);
    assert_eq!(
        plan::line(&diff(&before, &text(&[("a", "a.example"), ("b", "b.example, c.example")]))),
        "no longer shares 127.0.0.1:443 (rest); removes listener rest; changes listener b (sni); removes route rest/any"
    );
    assert_eq!(
        plan::line(&diff(&text(&[("a", "a.example")]), &before)),
        "shares 127.0.0.1:443 (rest), 127.0.0.1:443 (b); adds listener b, rest; adds route b/any, rest/any"
    );
    // Another name for the same connections, and a name that others had.
    let found = diff(&before, &text(&[("z", "a.example"), ("b", "b.example"), ("rest", "")]));
    assert_eq!((found.binds.moved.len(), found.binds.kept.len(), found.binds.joined.len()), (1, 2, 0));
    let found = diff(&before, &text(&[("a", "b.example"), ("b", "a.example"), ("rest", "")]));
    assert_eq!((found.binds.moved.len(), found.binds.kept.len(), found.binds.left.len()), (0, 3, 0));
}

/// A configuration: listeners with their ports and routes, pools with their backends.
#[derive(Clone, Debug)]
struct Plan {
    listeners: BTreeMap<u8, (BTreeSet<u8>, Vec<u8>)>,
    pools: BTreeMap<u8, BTreeMap<u8, u8>>,
}

impl Plan {
    fn text(&self) -> String {
        let mut taken = BTreeSet::new();
        let listeners = self.listeners.iter().map(|(name, (ports, routes))| {
            // An address belongs to the first listener that wants it.
            let mut ports: Vec<_> = ports.iter().filter(|port| taken.insert(**port)).copied().collect();
            if ports.is_empty() {
                ports.push(100 + name);
            }
            let binds: Vec<_> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
            let pools: Vec<_> = self.pools.keys().collect();
            let routes: Vec<_> = routes
                .iter()
                .map(|route| {
                    let pool = pools[usize::from(*route) % pools.len()];
                    format!("{{ match: {{ path: /{route} }}, pool: p{pool} }}")
                })
                .chain([format!("{{ pool: p{} }}", pools[0])])
                .collect();
            format!(
                "  l{name}: {{ bind: [{}], protocol: http, routes: [{}] }}\n",
                binds.join(", "),
                routes.join(", ")
            )
        });
        let listeners: String = listeners.collect();
        let pools = self.pools.iter().map(|(name, backends)| {
            let backends: Vec<_> = backends
                .iter()
                .map(|(host, weight)| format!("{{ address: '10.0.0.{host}:80', weight: {} }}", weight + 1))
                .collect();
            format!("  p{name}: {{ backends: [{}] }}\n", backends.join(", "))
        });
        format!("listeners:\n{listeners}pools:\n{}", pools.collect::<String>())
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let routes = prop::collection::btree_set(0u8..8, 0..4).prop_map(|routes| routes.into_iter().collect());
    let listener = (prop::collection::btree_set(1u8..8, 1..3), routes);
    let pool = prop::collection::btree_map(1u8..5, 0u8..2, 1..4);
    let listeners = prop::collection::btree_map(0u8..4, listener, 1..4);
    let pools = prop::collection::btree_map(0u8..4, pool, 1..4);
    (listeners, pools).prop_map(|(listeners, pools)| Plan { listeners, pools })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reloads_keep_exactly_what_stays(plans in prop::collection::vec(plans(), 2..8)) {
        let mut registry = Registry::new(1);
        let mut running = compiled(&plans[0].text(), 1, &mut registry);
        registry.keep_only(&running);
        for (number, plan) in plans[1..].iter().enumerate() {
            let text = plan.text();
            // A refused configuration must not be noticed later.
            let mut scratch = registry.clone();
            let refused = format!("{text}  broken: {{ backends: ['10.0.0.1:80', nonsense] }}\n");
            prop_assert!(config::compile(config::from_text("weir.yaml", &refused), 9, &mut scratch).is_err());

            let mut next_registry = registry.clone();
            let mut next = compiled(&text, number as u64 + 2, &mut next_registry);
            let diff = adopt(&running, &mut next);
            next_registry.keep_only(&next);

            let keys = |snapshot: &Snapshot| snapshot.binds().into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>();
            let (before, after) = (keys(&running), keys(&next));
            let opened: BTreeSet<_> = diff.binds.opened.iter().map(|(key, _)| key.clone()).collect();
            let closed: BTreeSet<_> = diff.binds.closed.iter().map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(&opened, &after.difference(&before).cloned().collect());
            prop_assert_eq!(&closed, &before.difference(&after).cloned().collect());
            prop_assert_eq!(diff.binds.moved.len() + diff.binds.kept.len(), before.intersection(&after).count());

            for pool in &next.pools {
                let Some((_, old)) = running.pool(&pool.name) else {
                    prop_assert!(diff.pools.added.contains(&pool.name));
                    continue;
                };
                let same = plan_of(old) == plan_of(pool);
                prop_assert_eq!(Arc::ptr_eq(old, pool), same, "{}", pool.name);
                prop_assert_eq!(diff.pools.changed.iter().any(|(name, _)| *name == pool.name), !same);
                prop_assert!(Arc::ptr_eq(&old.status, &pool.status));
                for backend in &pool.backends {
                    let before = old.backends.iter().find(|other| other.name == backend.name);
                    let status = before.map(|before| Arc::ptr_eq(&before.status, &backend.status));
                    prop_assert!(status != Some(false), "{} was there before", backend.name);
                }
            }
            let counted = diff.pools.added.len() + diff.pools.changed.len() + diff.pools.kept;
            prop_assert_eq!(counted, next.pools.len());

            // There and back again is no change, and neither is the same once more.
            let mut again_registry = next_registry.clone();
            let mut again = compiled(&text, 99, &mut again_registry);
            prop_assert!(adopt(&next, &mut again).is_empty());
            prop_assert!(again.pools.iter().zip(&next.pools).all(|(a, b)| Arc::ptr_eq(a, b)));
            let back = Diff::of(&next, &running);
            prop_assert_eq!(&back.pools.added, &diff.pools.removed);
            prop_assert_eq!(&back.routes.removed, &diff.routes.added);
            prop_assert_eq!(back.backends.changed.len(), diff.backends.changed.len());

            // As many names are known as a first start would know.
            let mut fresh = Registry::new(1);
            let first = compiled(&text, 1, &mut fresh);
            fresh.keep_only(&first);
            prop_assert_eq!(next_registry.len(), fresh.len());
            (running, registry) = (next, next_registry);
        }
    }
}

/// What a pool says, without what happens in it.
fn plan_of(pool: &weir_model::pool::Pool) -> Vec<(String, u32)> {
    pool.backends.iter().map(|backend| (backend.name.to_string(), backend.weight)).collect()
}

#[test]
fn thousands_of_reloads_leave_nothing_behind() {
    let text = |round: usize| {
        format!(
            "listeners: {{ l{round}: {{ bind: '127.0.0.1:80', protocol: http, routes: [{{ match: {{ path: /{round} }}, \
             pool: p{round} }}] }} }}\npools: {{ p{round}: {{ backends: ['10.0.0.1:80', '10.0.{}.{}:80'] }} }}\n",
            round / 250,
            round % 250 + 2,
        )
    };
    let mut registry = Registry::new(4);
    let mut running = compiled(&text(0), 1, &mut registry);
    registry.keep_only(&running);
    let known = registry.len();
    for round in 1..3000 {
        let mut next_registry = registry.clone();
        let mut next = compiled(&text(round), round as u64, &mut next_registry);
        adopt(&running, &mut next);
        next_registry.keep_only(&next);
        (running, registry) = (next, next_registry);
        assert_eq!(registry.len(), known);
    }
}
