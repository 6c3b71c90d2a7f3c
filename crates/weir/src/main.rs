//! The binary: wires the rooms together and decides nothing.
fn main() {}
