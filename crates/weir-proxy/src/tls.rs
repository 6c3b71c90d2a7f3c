//! TLS as a client begins it.

pub(crate) mod hello;
