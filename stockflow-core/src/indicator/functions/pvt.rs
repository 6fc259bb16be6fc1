//! Price volume trend: the volume of all bars, each weighted by how much the price changed. Source: TA-Lib `PVT`.

use super::super::definition::Value;
use super::super::running::{Running, Unit};
use super::accumulator::{Accumulator, Step, unit};

pub(crate) static UNIT: Unit = unit("pvt", "the sum and the last price", start);

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Accumulator::<Pvt, 2, 2>::boxed())
}

#[derive(Debug)]
struct Pvt;

impl Step<2, 2> for Pvt {
    #[inline(always)]
    fn step([sum, last]: [f64; 2], [close, volume]: [f64; 2], _: bool) -> ([f64; 2], f64) {
        // The first bar comes after a price of 0, which changes nothing.
        let sum = if last != 0.0 { sum + (close - last) / last * volume } else { sum };
        ([sum, close], sum)
    }
}
