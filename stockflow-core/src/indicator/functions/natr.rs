//! Normalised average true range: the average true range as a percentage of the close. Source: TA-Lib `NATR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::atr::{Atr, Scale};

pub(crate) static UNIT: Unit =
    Unit { name: "natr", kind: StateKind::Recursive, keeps: "the average and the close of the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Atr::<Percent>::new(period(values, 0))))
}

/// As a percentage of the close; a period of 1 gives the range itself, as TA-Lib does.
#[derive(Debug)]
struct Percent;

impl Scale for Percent {
    #[inline(always)]
    fn scale(average: f64, close: f64, period: usize) -> f64 {
        // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
        let percent = average / close * 100.0;
        if period <= 1 {
            average
        } else if close != 0.0 {
            percent
        } else {
            0.0
        }
    }

    #[inline(always)]
    fn scale_all(averages: &mut [f64], close: &[f64], period: usize) {
        if period <= 1 {
            return;
        }
        for (average, close) in averages.iter_mut().zip(close) {
            let percent = *average / *close * 100.0;
            *average = if *close != 0.0 { percent } else { 0.0 };
        }
    }
}
