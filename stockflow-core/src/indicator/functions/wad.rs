//! Williams' accumulation and distribution: how far each close is from the far end of its true range, added up. Source: TA-Lib `WAD`.

use std::hint::select_unpredictable;

use super::super::definition::Value;
use super::super::running::{Running, Unit};
use super::accumulator::{Accumulator, Step, unit};
use super::true_range::{greater, lesser};

pub(crate) static UNIT: Unit = unit("wad", "the sum and the last close", start);

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Accumulator::<Wad, 3, 2>::boxed())
}

#[derive(Debug)]
struct Wad;

impl Step<3, 2> for Wad {
    #[inline(always)]
    fn step([sum, last]: [f64; 2], [high, low, close]: [f64; 3], is_first: bool) -> ([f64; 2], f64) {
        let (rise, fall) = (close - lesser(last, low), close - greater(last, high));
        let gain = select_unpredictable(close > last, rise, select_unpredictable(close < last, fall, 0.0));
        let sum = if is_first { sum } else { sum + gain };
        ([sum, close], sum)
    }
}
