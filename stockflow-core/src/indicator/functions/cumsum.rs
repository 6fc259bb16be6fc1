//! Cumulative sum: all rows so far, added up. Source: TA-Lib `CUMSUM`.

use super::super::definition::Value;
use super::super::running::{Running, Unit};
use super::accumulator::{Accumulator, Step, unit};

pub(crate) static UNIT: Unit = unit("cumsum", "the sum", start);

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Accumulator::<Cumsum, 1, 1>::boxed())
}

#[derive(Debug)]
struct Cumsum;

impl Step<1, 1> for Cumsum {
    #[inline(always)]
    fn step([sum]: [f64; 1], [value]: [f64; 1], _: bool) -> ([f64; 1], f64) {
        let sum = sum + value;
        ([sum], sum)
    }
}
