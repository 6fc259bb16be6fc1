//! Volume weighted average price since the series began. Source: TA-Lib `VWAP`.

use super::super::definition::Value;
use super::super::running::{Running, Unit};
use super::accumulator::{Accumulator, Step, unit};
use super::mfi::typical;

pub(crate) static UNIT: Unit = unit("vwap", "the sums of volume and of volume times price", start);

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Accumulator::<Vwap, 4, 3>::boxed())
}

#[derive(Debug)]
struct Vwap;

impl Step<4, 3> for Vwap {
    #[inline(always)]
    fn step([turnover, total, last]: [f64; 3], [high, low, close, volume]: [f64; 4], _: bool) -> ([f64; 3], f64) {
        let (turnover, total) = (turnover + typical(high, low, close) * volume, total + volume);
        let mean = turnover / total;
        let value = if total > 0.0 { mean } else { last };
        ([turnover, total, value], value)
    }
}
