//! HTTP/2 and gRPC with real programs at both ends: h2spec; grpc-go and grpcio; nghttp2, curl, Node and Chromium as clients;
//! nginx, Node, hypercorn and nghttpd as backends.

pub(super) mod backends;
pub(super) mod browser;
pub(super) mod grpc;
pub(super) mod h2spec;
mod tools;
pub(super) mod tunnels;
pub(super) mod web;
