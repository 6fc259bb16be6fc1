//! Moving average convergence/divergence: the difference of two exponential averages, an average of that, and how far
//! the two are apart. Source: TA-Lib `MACD`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::stage::{FOUR, Stage};

pub(crate) static UNIT: Unit =
    Unit { name: "macd", kind: StateKind::Recursive, keeps: "the three averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (one, other, signal) = (period(values, 0), period(values, 1), period(values, 2));
    Some(Box::new(Macd::new(Stage::new(one.min(other)), Stage::new(one.max(other)), Stage::new(signal))))
}

/// Three averages, the third over the difference of the others.
#[derive(Debug)]
pub(crate) struct Macd {
    stages: Stages,
    /// Rows so far, at most those that the signal needs for its first value.
    seen: usize,
    /// The next row's place among the four.
    at: usize,
}

#[derive(Debug, Clone)]
struct Stages {
    fast: Stage,
    slow: Stage,
    signal: Stage,
}

impl Stages {
    /// The difference, from averages that lack their weights.
    #[inline(always)]
    fn difference(&self, fast: f64, slow: f64) -> f64 {
        self.fast.weight() * fast - self.slow.weight() * slow
    }

    /// A row until the signal has started.
    ///
    /// The fast average starts so late that it has its first value together with the slow one.
    fn early(&mut self, at: usize, row: f64) -> Option<[f64; 2]> {
        let is_late = at + self.fast.lookback() < self.slow.lookback();
        let fast = if is_late { None } else { self.fast.early(row) };
        let macd = self.slow.early(row).zip(fast).map(|(slow, fast)| self.difference(fast, slow))?;
        self.signal.early(macd).map(|signal| [macd, signal])
    }

    #[inline(always)]
    fn step(&mut self, at: usize, row: f64) -> [f64; 2] {
        let (fast, slow) = (self.fast.step(at, row), self.slow.step(at, row));
        let macd = self.difference(fast, slow);
        [macd, self.signal.step(at, macd)]
    }
}

impl Macd {
    pub(crate) fn new(fast: Stage, slow: Stage, signal: Stage) -> Self {
        Self { stages: Stages { fast, slow, signal }, seen: 0, at: 0 }
    }

    /// Rows that the signal needs for its first value.
    fn needed(&self) -> usize {
        self.stages.slow.lookback() + self.stages.signal.lookback() + 1
    }

    /// A row that stands alone.
    fn step(&mut self, row: f64) -> [f64; 3] {
        let [macd, signal] = if self.seen < self.needed() {
            self.seen += 1;
            self.stages.early(self.seen - 1, row).unwrap_or_default()
        } else {
            let at = self.at;
            self.at = (at + 1) % FOUR;
            self.stages.step(at, row)
        };
        let signal = self.stages.signal.weight() * signal;
        [macd, signal, macd - signal]
    }

    fn run(&mut self, input: &[f64], macds: &mut [f64], signals: &mut [f64], hists: &mut [f64]) {
        let n_alone = (self.needed() - self.seen + (FOUR - self.at) % FOUR).min(input.len());
        let (alone, input) = input.split_at(n_alone);
        let (macd_alone, macds) = macds.split_at_mut(n_alone);
        let (signal_alone, signals) = signals.split_at_mut(n_alone);
        let (hist_alone, hists) = hists.split_at_mut(n_alone);
        let outs = macd_alone.iter_mut().zip(signal_alone).zip(hist_alone);
        for (row, ((macd, signal), hist)) in alone.iter().zip(outs) {
            [*macd, *signal, *hist] = self.step(*row);
        }
        let (fours, tail) = input.as_chunks::<FOUR>();
        let (macd_fours, macd_tail) = macds.as_chunks_mut::<FOUR>();
        let (signal_fours, signal_tail) = signals.as_chunks_mut::<FOUR>();
        let (hist_fours, hist_tail) = hists.as_chunks_mut::<FOUR>();
        let Stages { fast, slow, signal } = &mut self.stages;
        let (fast_rests, slow_rests, signal_rests) = (fast.rests(), slow.rests(), signal.rests());
        let (fast_weight, slow_weight, weight) = (fast.weight(), slow.weight(), signal.weight());
        let (mut fast_base, mut slow_base, mut signal_base) = (fast.base(), slow.base(), signal.base());
        let outs = macd_fours.iter_mut().zip(signal_fours).zip(hist_fours);
        for (rows, ((macd, signal), hist)) in fours.iter().zip(outs) {
            let fasts = fast_rests.four(&mut fast_base, *rows);
            let slows = slow_rests.four(&mut slow_base, *rows);
            let mut macds = [0.0; FOUR];
            for (macd, (fast, slow)) in macds.iter_mut().zip(fasts.iter().zip(&slows)) {
                *macd = fast_weight * fast - slow_weight * slow;
            }
            let mut signals = signal_rests.four(&mut signal_base, macds);
            for signal in &mut signals {
                *signal *= weight;
            }
            for (hist, (macd, signal)) in hist.iter_mut().zip(macds.iter().zip(&signals)) {
                *hist = macd - signal;
            }
            (*macd, *signal) = (macds, signals);
        }
        fast.set_base(fast_base);
        slow.set_base(slow_base);
        signal.set_base(signal_base);
        let outs = macd_tail.iter_mut().zip(signal_tail).zip(hist_tail);
        for (row, ((macd, signal), hist)) in tail.iter().zip(outs) {
            [*macd, *signal, *hist] = self.step(*row);
        }
    }
}

impl Running for Macd {
    fn reset(&mut self) {
        self.stages.fast.reset();
        self.stages.slow.reset();
        self.stages.signal.reset();
        (self.seen, self.at) = (0, 0);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [macd, signal, hist]) = (inputs, outputs) else {
            return Err("it reads one series and gives three".into());
        };
        self.run(input, macd.real(), signal.real(), hist.real());
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.at as f64]);
        self.stages.fast.save(state);
        self.stages.slow.save(state);
        self.stages.signal.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(self.needed())?;
        self.at = saved.count(FOUR - 1)?;
        self.stages.fast.load(&mut saved)?;
        self.stages.slow.load(&mut saved)?;
        self.stages.signal.load(&mut saved)?;
        saved.end()
    }
}
