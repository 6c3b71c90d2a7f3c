//! Makes snapshots and answers operators.
