//! Cascade: exponential averages each of which runs over the one before. Source: what TA-Lib's `DEMA`, `TEMA`, `TRIX`
//! and `T3` share.

use super::super::running::Saved;
use super::stage::{FOUR, Stage};

/// `N` exponential averages of one period.
#[derive(Debug, Clone)]
pub(crate) struct Cascade<const N: usize> {
    stages: [Stage; N],
    /// Rows that are still to come before the last stage has a value.
    left: usize,
    lookback: usize,
    /// The next row's place among the four.
    at: usize,
}

impl<const N: usize> Cascade<N> {
    pub(crate) fn new(period: usize) -> Self {
        let stage = Stage::new(period);
        let lookback = N * stage.lookback();
        Self { left: lookback + 1, lookback, stages: std::array::from_fn(|_| stage.clone()), at: 0 }
    }

    /// Rows before the last stage's first value.
    pub(crate) fn lookback(&self) -> usize {
        self.lookback
    }

    /// What the values of each stage lack as a factor.
    pub(crate) fn factors(&self) -> [f64; N] {
        let mut factor = 1.0;
        self.stages.each_ref().map(|it| {
            factor *= it.weight();
            factor
        })
    }

    pub(crate) fn reset(&mut self) {
        self.stages.iter_mut().for_each(Stage::reset);
        self.left = self.lookback + 1;
        self.at = 0;
    }

    /// Reads what is wanted from the values of all stages at each row, which lack the [`Cascade::factors`].
    #[inline(always)]
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64], read: impl Fn([f64; N]) -> f64) {
        let n_early = self.left.min(input.len());
        let (early, input) = input.split_at(n_early);
        let (early_out, out) = out.split_at_mut(n_early);
        for (row, out) in early.iter().zip(early_out) {
            *out = self.early(*row, &read);
        }
        let n_head = ((FOUR - self.at) % FOUR).min(input.len());
        let (head, input) = input.split_at(n_head);
        let (head_out, out) = out.split_at_mut(n_head);
        for (row, out) in head.iter().zip(head_out) {
            *out = self.step(*row, &read);
        }
        let (fours, tail) = input.as_chunks::<FOUR>();
        let (out_fours, out_tail) = out.as_chunks_mut::<FOUR>();
        let Some(rests) = self.stages.first().map(Stage::rests) else { return };
        let mut bases = self.stages.each_ref().map(Stage::base);
        for (rows, out) in fours.iter().zip(out_fours) {
            let mut rows = *rows;
            let mut values = [[0.0; N]; FOUR];
            for (k, base) in bases.iter_mut().enumerate() {
                rows = rests.four(base, rows);
                (values[0][k], values[1][k], values[2][k], values[3][k]) = (rows[0], rows[1], rows[2], rows[3]);
            }
            *out = [read(values[0]), read(values[1]), read(values[2]), read(values[3])];
        }
        for (stage, base) in self.stages.iter_mut().zip(bases) {
            stage.set_base(base);
        }
        for (row, out) in tail.iter().zip(out_tail) {
            *out = self.step(*row, &read);
        }
    }

    /// A row until the last stage has started.
    fn early(&mut self, row: f64, read: impl Fn([f64; N]) -> f64) -> f64 {
        self.left -= 1;
        let (mut row, mut values) = (row, [0.0; N]);
        for (value, stage) in values.iter_mut().zip(&mut self.stages) {
            let Some(next) = stage.early(row) else { break };
            (row, *value) = (next, next);
        }
        read(values)
    }

    /// A row that stands alone in its piece.
    fn step(&mut self, row: f64, read: impl Fn([f64; N]) -> f64) -> f64 {
        let mut row = row;
        let values = self.stages.each_mut().map(|it| {
            row = it.step(self.at, row);
            row
        });
        self.at = (self.at + 1) % FOUR;
        read(values)
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.left as f64, self.at as f64]);
        self.stages.iter().for_each(|it| it.save(state));
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.left = saved.count(self.lookback + 1)?;
        self.at = saved.count(FOUR - 1)?;
        self.stages.iter_mut().try_for_each(|it| it.load(saved))
    }
}
