//! Keltner channels: the exponential average of the typical price, and lines some average true ranges above and below
//! it. Source: TA-Lib `KC`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::atr::{Atr, Plain};
use super::leap::TILE;
use super::mfi::typical;
use super::restored::restored;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "kc", kind: StateKind::Recursive, keeps: "both averages and the close of the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (middle, range) = (period(values, 0).max(1), period(values, 1).max(1));
    // Both averages start from so many rows that they have their first value at the same row.
    let cold = (middle - 1).max(range);
    let kc = Kc {
        cold: [cold + 1 - middle, cold - range],
        left: [cold + 1 - middle, cold - range],
        middle: Glide::new(middle),
        range: Atr::new(range),
        width: real(values, 2),
    };
    Some(Box::new(kc))
}

#[derive(Debug)]
struct Kc {
    /// Rows that each average skips, and how many of them are still to come.
    cold: [usize; 2],
    left: [usize; 2],
    middle: Glide,
    range: Atr<Plain>,
    /// How many average true ranges the lines are from the middle.
    width: f64,
}

impl Rows for Kc {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [upper, middle, lower]) = (inputs, outputs) else {
            return Err("it reads three series and gives three".into());
        };
        let [mut prices, mut middles] = [[0.0; TILE]; 2];
        let bars = high.chunks(TILE).zip(low.chunks(TILE)).zip(close.chunks(TILE));
        let lines =
            upper.real().chunks_mut(TILE).zip(middle.real().chunks_mut(TILE)).zip(lower.real().chunks_mut(TILE));
        for (((high, low), close), ((upper, middle), lower)) in bars.zip(lines) {
            let n = close.len();
            for (((price, high), low), close) in prices.iter_mut().zip(high).zip(low).zip(close) {
                *price = typical(*high, *low, *close);
            }
            let [by_middle, by_range] = self.left.map(|it| it.min(n));
            self.left = [self.left[0] - by_middle, self.left[1] - by_range];
            self.middle.run(&prices[by_middle..n], &mut middles[by_middle..n]);
            self.range.run(&high[by_range..], &low[by_range..], &close[by_range..], &mut upper[by_range..]);
            for (((upper, middle), lower), average) in upper.iter_mut().zip(middle).zip(lower).zip(&middles) {
                let width = *upper * self.width;
                (*upper, *middle, *lower) = (average + width, *average, average - width);
            }
        }
        Ok(())
    }
}

impl Running for Kc {
    fn reset(&mut self) {
        self.left = self.cold;
        self.middle.reset();
        self.range.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend(self.left.map(|it| it as f64));
        self.middle.save(state);
        self.range.keep(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.left = [saved.count(self.cold[0])?, saved.count(self.cold[1])?];
        self.middle.load(&mut saved)?;
        self.range.restore(&mut saved)?;
        saved.end()
    }
}
