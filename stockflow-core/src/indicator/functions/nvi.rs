//! Negative volume index: an index that follows the price on those bars only whose volume falls. Source: TA-Lib `NVI`.

use std::hint::select_unpredictable;

use super::super::definition::Value;
use super::super::running::{Running, Unit};
use super::accumulator::{Accumulator, Step, unit};

pub(crate) static UNIT: Unit = unit("nvi", "the index and the last bar's price and volume", start);

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Accumulator::<Nvi, 2, 3>::boxed())
}

#[derive(Debug)]
struct Nvi;

impl Step<2, 3> for Nvi {
    /// TA-Lib starts both of its volume indices from this value.
    const START: [f64; 3] = [1000.0, 0.0, 0.0];

    #[inline(always)]
    fn step([index, last, before]: [f64; 3], [close, volume]: [f64; 2], is_first: bool) -> ([f64; 3], f64) {
        let moved = ((close - last) / last).mul_add(index, index);
        let counts = !is_first & (volume < before) & (last != 0.0) & moved.is_finite();
        let index = select_unpredictable(counts, moved, index);
        ([index, close, volume], index)
    }
}
