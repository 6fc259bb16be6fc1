//! Chaikin's volatility: by how much the average range of the bars has changed, in percent. Source: TA-Lib `CVI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::leap::TILE;
use super::past::Past;
use super::restored::restored;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "cvi", kind: StateKind::Recursive, keeps: "the average and its values of the last rows", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, lag) = (Glide::new(period(values, 0)), period(values, 1).max(1));
    Some(Box::new(Cvi { average, lag, past: Past::new(lag) }))
}

#[derive(Debug)]
struct Cvi {
    average: Glide,
    /// How many rows ago the value is that the average is compared with.
    lag: usize,
    /// The averages of the last `lag` rows.
    past: Past<1>,
}

impl Rows for Cvi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let (lag, mut ranges, mut averages) = (self.lag, [0.0; TILE], [0.0; TILE]);
        let outs = out.real().chunks_mut(TILE);
        for ((high, low), out) in high.chunks(TILE).zip(low.chunks(TILE)).zip(outs) {
            for ((range, high), low) in ranges.iter_mut().zip(high).zip(low) {
                *range = high - low;
            }
            let n = out.len();
            let cold = self.average.run(&ranges[..n], &mut averages);
            out[..cold].fill(0.0);
            let out = &mut out[cold..];
            self.past.feed([&averages[cold..n]], |known, [averages], new| {
                let (out, first) = (&mut out[new], lag.saturating_sub(known));
                let first = first.min(out.len());
                out[..first].fill(0.0);
                for ((out, average), before) in out[first..].iter_mut().zip(&averages[known + first..]).zip(averages) {
                    // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
                    let change = 100.0 * ((average - before) / before);
                    *out = if *before != 0.0 { change } else { 0.0 };
                }
            });
        }
        Ok(())
    }
}

impl Running for Cvi {
    fn reset(&mut self) {
        self.average.reset();
        self.past.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
        self.past.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        self.past.load(&mut saved)?;
        saved.end()
    }
}
