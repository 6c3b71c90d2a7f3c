//! Picks take nothing from the heap, nor does a key that is hashed.

use std::{net::IpAddr, sync::Arc};

use weir_model::{
    balance::{Ask, Balance, Balancer, EligibleSet, Flow, HashTable, Key, Loads, Member, Policy, Seed},
    route::RequestFacts,
    time::Moment,
};

struct Busy;

impl Loads for Busy {
    fn active(&self, backend: usize) -> u32 {
        backend as u32 % 7
    }

    fn is_full(&self, backend: usize) -> bool {
        backend.is_multiple_of(5)
    }

    fn latency(&self, backend: usize, _: Moment) -> Option<f32> {
        Some(backend as f32 % 11.0)
    }

    fn total(&self) -> u32 {
        3000
    }
}

#[test]
fn a_pick_allocates_nothing() {
    for policy in Policy::ALL {
        for weights in [[1, 1], [1, 9]] {
            let weight = |index: usize| weights[index % 2];
            let named = (0..1000).map(|index| (format!("b{index}").into(), weight(index))).collect();
            let table = HashTable::new(policy, named).map(Arc::new);
            let bounded_load = policy.hashes().then_some(125);
            let balance = Balance { bounded_load, ..policy.into() };
            let mut balancer = Balancer::new(&balance, table.as_ref(), 0);
            let member = |backend| Member { backend, weight: weight(backend) };
            let set = EligibleSet::new((0..1000).filter(|index| index % 3 > 0).map(member));
            balancer.prepare(&set);
            let mut seed = Seed::new(1);
            let counted = allocation_counter::measure(|| {
                for _ in 0..1000 {
                    let ask = Ask { hash: seed.next(), tried: &[1, 2], now: Moment(1) };
                    assert!(balancer.pick(&set, &ask, &Busy, &mut seed).is_some());
                }
            });
            assert_eq!(counted.count_total, 0, "{policy:?}");
        }
    }
}

struct Request;

impl RequestFacts for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn host(&self) -> &[u8] {
        b"example.com"
    }

    fn path(&self) -> &[u8] {
        b"/users/7"
    }

    fn query(&self) -> Option<&[u8]> {
        Some(b"a=1&id=user%40example.com")
    }

    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match name {
            "cookie" => each(b"a=b; uid=\"7\""),
            _ => each(b"value"),
        }
    }

    fn source(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }
}

#[test]
fn a_key_allocates_nothing() {
    let keys = [
        Key::Header("X-User".into()),
        Key::Cookie("uid".into()),
        Key::Cookie("missing".into()),
        Key::Query("id".into()),
        Key::Path,
        Key::Source,
        Key::FiveTuple,
    ];
    let flow = || Flow { source: ([192, 0, 2, 1], 5).into(), destination: Some(([10, 0, 0, 1], 80).into()) };
    for key in keys {
        let counted = allocation_counter::measure(|| {
            std::hint::black_box(key.of_request(&Request, flow));
        });
        assert_eq!(counted.count_total, 0, "{key}");
    }
}
