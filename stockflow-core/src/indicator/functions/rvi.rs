//! Relative volatility index: the deviation of the rows at which the series rose, averaged, in percent of all. Source:
//! TA-Lib `RVI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::decay::PASS;
use super::restored::restored;
use super::smooth::Smooth;
use super::variance::Variance;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit {
    name: "rvi",
    kind: StateKind::Recursive,
    keeps: "both averages, and the sums and the rows of the window",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, window) = (Smooth::wilder(period(values, 0)), period(values, 1).max(2));
    let variance = Variance::new(window);
    Some(Box::new(Rvi { up: average.clone(), down: average, variance, cold: window - 1, seen: 0, last: 0.0 }))
}

#[derive(Debug)]
struct Rvi {
    up: Smooth,
    down: Smooth,
    variance: Variance,
    /// Rows before the first deviation.
    cold: usize,
    /// Rows so far, at most those.
    seen: usize,
    last: f64,
}

impl Rows for Rvi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        let mut variances = [0.0; PASS];
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            self.variance.run(input, &mut variances[..input.len()]);
            for ((out, row), variance) in out.iter_mut().zip(input).zip(&variances) {
                let rise = row - self.last;
                self.last = *row;
                if self.seen < self.cold {
                    self.seen += 1;
                    *out = 0.0;
                    continue;
                }
                let deviation = variance.sqrt();
                let up = self.up.step(if rise > 0.0 { deviation } else { 0.0 });
                let down = self.down.step(if rise < 0.0 { deviation } else { 0.0 });
                let (up, down) = (up.unwrap_or(0.0), down.unwrap_or(0.0));
                let total = up + down;
                *out = if total == 0.0 { 50.0 } else { 100.0 * (up / total) };
            }
        }
        Ok(())
    }
}

impl Running for Rvi {
    fn reset(&mut self) {
        self.up.reset();
        self.down.reset();
        self.variance.reset();
        (self.seen, self.last) = (0, 0.0);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.last]);
        self.up.save(state);
        self.down.save(state);
        self.variance.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(self.cold)?;
        self.last = saved.number()?;
        self.up.load(&mut saved)?;
        self.down.load(&mut saved)?;
        self.variance.load(&mut saved)?;
        saved.end()
    }
}
