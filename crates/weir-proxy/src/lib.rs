//! The path: what carries requests and connections, module by module in the order of the traffic.
