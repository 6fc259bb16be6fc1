//! Normalised average true range: the average true range as a percentage of the close. Source: TA-Lib `NATR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::atr::{Atr, Plain, Scale};

pub(crate) static UNIT: Unit =
    Unit { name: "natr", kind: StateKind::Recursive, keeps: "the average and the close of the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0);
    // TA-Lib gives the range itself where nothing is averaged.
    if period <= 1 { Some(Box::new(Atr::<Plain>::new(period))) } else { Some(Box::new(Atr::<Percent>::new(period))) }
}

/// As a percentage of the close.
#[derive(Debug)]
struct Percent;

impl Scale for Percent {
    const IS_SCALED: bool = true;

    #[inline(always)]
    fn factor(close: f64) -> f64 {
        // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
        let factor = 100.0 / close;
        if close != 0.0 { factor } else { 0.0 }
    }
}
