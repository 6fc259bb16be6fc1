//! `stockflow`: parse, assemble, run, print.
#![allow(dead_code, unused_imports)]
mod args;
mod config;
mod exit;
mod render;
fn main() {}
