//! For tests only: fake clients and backends, and ways to drive weir in process.
