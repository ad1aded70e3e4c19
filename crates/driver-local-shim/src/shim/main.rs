//! The shim of `driver-local`.

fn main() {}
