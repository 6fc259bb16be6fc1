//! Awesome oscillator: a short less a long simple average of the middle of the bars. Source: TA-Lib `AO`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "ao", kind: StateKind::Window, keeps: "both sums and the middles of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Ao::new(period(values, 0), period(values, 1))))
}

/// Running sums over a short and a long window.
#[derive(Debug)]
pub(crate) struct Ao {
    fast: usize,
    slow: usize,
    fast_sum: f64,
    slow_sum: f64,
    /// The middles that the next windows still hold, oldest first, and during a piece the new ones.
    middles: Vec<f64>,
    /// Rows of `middles` that no window holds any more.
    oldest: usize,
}

impl Ao {
    pub(crate) fn new(fast: usize, slow: usize) -> Self {
        let (fast, slow) = (fast.max(1), slow.max(1));
        Self { fast, slow, fast_sum: 0.0, slow_sum: 0.0, middles: Vec::new(), oldest: 0 }
    }

    pub(crate) fn reset(&mut self) {
        (self.fast_sum, self.slow_sum, self.oldest) = (0.0, 0.0, 0);
        self.middles.clear();
    }

    /// One row; `None` while the longer window is not full.
    #[inline]
    pub(crate) fn step(&mut self, high: f64, low: f64) -> Option<f64> {
        let middle = (high + low) / 2.0;
        self.middles.push(middle);
        let n = self.middles.len();
        let longest = self.fast.max(self.slow);
        // The sums begin with the rows that the first full window will hold: the shorter one holds the last of them.
        if n - self.oldest + self.fast > longest {
            self.fast_sum += middle;
        }
        if n - self.oldest + self.slow > longest {
            self.slow_sum += middle;
        }
        let is_full = n - self.oldest == longest;
        let value = self.fast_sum / self.fast as f64 - self.slow_sum / self.slow as f64;
        if is_full {
            self.fast_sum -= self.middles[n - self.fast];
            self.slow_sum -= self.middles[n - self.slow];
            self.oldest += 1;
        }
        is_full.then_some(value)
    }

    /// Lets go of the rows that no window holds any more; at the end of a piece.
    pub(crate) fn end_piece(&mut self) {
        self.middles.drain(..self.oldest);
        self.oldest = 0;
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.fast_sum, self.slow_sum, self.middles.len() as f64]);
        state.extend_from_slice(&self.middles);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.reset();
        self.fast_sum = saved.number()?;
        self.slow_sum = saved.number()?;
        let n = saved.count(self.fast.max(self.slow) - 1)?;
        self.middles.extend_from_slice(saved.numbers(n)?);
        Ok(())
    }
}

impl Running for Ao {
    fn reset(&mut self) {
        self.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        for ((high, low), out) in high.iter().zip(*low).zip(out.real()) {
            *out = self.step(*high, *low).unwrap_or(0.0);
        }
        self.end_piece();
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.load(&mut saved)?;
        saved.end()
    }
}
