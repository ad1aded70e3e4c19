//! The program `driver`.
fn main() {}
