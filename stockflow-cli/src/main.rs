//! stub

// Until the `chart` command draws with it.
#[allow(dead_code, unused_imports)]
mod chart;

fn main() {}
