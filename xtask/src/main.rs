//! Automation of this repository: checks, dependence edges, benches.
fn main() {}
