//! Cascade: exponential averages each of which runs over the one before. Source: what TA-Lib's `DEMA`, `TEMA`, `TRIX`
//! and `T3` share.

use super::super::running::Saved;
use super::average::Average;
use super::ema::Ema;

/// `N` exponential averages of one period.
#[derive(Debug, Clone)]
pub(crate) struct Cascade<const N: usize> {
    stages: [Ema; N],
    /// Rows so far, at most those that the last stage needs.
    seen: usize,
    lookback: usize,
}

impl<const N: usize> Cascade<N> {
    pub(crate) fn new(period: usize) -> Self {
        let stage = Ema::new(period);
        Self { seen: 0, lookback: N * stage.lookback(), stages: std::array::from_fn(|_| stage.clone()) }
    }

    /// Rows before the last stage's first value.
    pub(crate) fn lookback(&self) -> usize {
        self.lookback
    }

    pub(crate) fn reset(&mut self) {
        self.seen = 0;
        self.stages.iter_mut().for_each(Ema::reset);
    }

    /// The averages of all stages at each row; anything within their lookbacks.
    pub(crate) fn run(&mut self, input: &[f64], outs: [&mut [f64]; N]) {
        let n = input.len();
        let mut input = input;
        for (k, (stage, out)) in self.stages.iter_mut().zip(outs).enumerate() {
            let skipped = (k * stage.lookback()).saturating_sub(self.seen).min(n);
            stage.run(&input[skipped..], &mut out[skipped..]);
            input = out;
        }
        self.seen = (self.seen + n).min(self.lookback);
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.push(self.seen as f64);
        self.stages.iter().for_each(|it| it.save(state));
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.lookback)?;
        self.stages.iter_mut().try_for_each(|it| it.load(saved))
    }
}
