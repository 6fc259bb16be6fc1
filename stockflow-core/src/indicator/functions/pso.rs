//! Premier stochastic oscillator: the fast stochastic around its middle, averaged twice and squeezed between -1 and 1.
//! Source: TA-Lib `PSO`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::leap::TILE;
use super::restored::restored;
use super::smooth::Glide;
use super::stretch::{Stretch, is_flat};
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit {
    name: "pso",
    kind: StateKind::Recursive,
    keeps: "the highs and lows of the window and both averages",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (window, average) = (period(values, 0).max(1), Glide::new(period(values, 1)));
    let stretch = Stretch::new(window);
    Some(Box::new(Pso { stretch, once: average.clone(), twice: average, cold: window - 1, seen: 0 }))
}

#[derive(Debug)]
struct Pso {
    stretch: Stretch,
    once: Glide,
    twice: Glide,
    /// Rows before the window is full.
    cold: usize,
    /// Rows so far, at most those.
    seen: usize,
}

/// Where the close is in the window, from -5 to 5.
#[inline(always)]
fn place(highest: f64, lowest: f64, close: f64) -> f64 {
    let place = 0.1 * ((close - lowest) / (highest - lowest) * 100.0 - 50.0);
    if is_flat(highest, lowest) { 0.0 } else { place }
}

impl Rows for Pso {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [out]) = (inputs, outputs) else { return Err("it reads three series".into()) };
        let [mut places, mut averages] = [[0.0; TILE]; 2];
        let bars = high.chunks(TILE).zip(low.chunks(TILE)).zip(close.chunks(TILE));
        for (out, ((high, low), close)) in out.real().chunks_mut(TILE).zip(bars) {
            let n = out.len();
            self.stretch.run(high, low, close, &mut places[..n], place);
            let skipped = (self.cold - self.seen).min(n);
            self.seen += skipped;
            let cold = skipped + self.once.run(&places[skipped..n], &mut averages[skipped..n]);
            let cold = cold + self.twice.run(&averages[cold..n], &mut out[cold..]);
            out[..cold].fill(0.0);
            for out in &mut out[cold..] {
                *out = (0.5 * *out).tanh();
            }
        }
        Ok(())
    }
}

impl Running for Pso {
    fn reset(&mut self) {
        self.stretch.reset();
        self.once.reset();
        self.twice.reset();
        self.seen = 0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.seen as f64);
        self.once.save(state);
        self.twice.save(state);
        self.stretch.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(self.cold)?;
        self.once.load(&mut saved)?;
        self.twice.load(&mut saved)?;
        self.stretch.load(&mut saved)?;
        saved.end()
    }
}
