//! Stochastic RSI: where the relative strength index is between its lows and highs of the last rows, and an average of
//! that. Source: TA-Lib `STOCHRSI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::decay::PASS;
use super::ma::{Kind, average, kind};
use super::past::room;
use super::restored::restored;
use super::rsi::Rsi;
use super::stochf::Stochf;

pub(crate) static UNIT: Unit = Unit {
    name: "stochrsi",
    kind: StateKind::Recursive,
    keeps: "what the index and the chosen average keep, and the indices of the window",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let kind = kind(values, 3)?;
    if kind == Kind::Kama {
        // It makes the last bits of a flat line large, so only TA-Lib's own order of operations gives TA-Lib's values.
        return None;
    }
    let rsi = Rsi::new(period(values, 0));
    let stochastic = Stochf::new(period(values, 1), average(kind, period(values, 2))?);
    Some(Box::new(Stochrsi { left: rsi.lookback(), rsi, stochastic, scratch: Vec::new() }))
}

#[derive(Debug)]
struct Stochrsi {
    rsi: Rsi,
    /// Rows that the index still needs for its first value.
    left: usize,
    stochastic: Stochf,
    scratch: Vec<f64>,
}

impl Running for Stochrsi {
    fn reset(&mut self) {
        self.rsi.reset();
        self.left = self.rsi.lookback();
        self.stochastic.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [k, d]) = (inputs, outputs) else { return Err("it reads one series and gives two".into()) };
        let lines = k.real().chunks_mut(PASS).zip(d.real().chunks_mut(PASS));
        for (input, (k, d)) in input.chunks(PASS).zip(lines) {
            let index = room(&mut self.scratch, input.len());
            self.rsi.run(input, index);
            let skipped = self.left.min(input.len());
            self.left -= skipped;
            let index = &index[skipped..];
            self.stochastic.run(index, index, index, &mut k[skipped..], &mut d[skipped..]);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.left as f64);
        self.rsi.save(state);
        self.stochastic.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.left = saved.count(self.rsi.lookback())?;
        self.rsi.load(&mut saved)?;
        self.stochastic.load(&mut saved)?;
        saved.end()
    }
}
