//! Mass index: the range of the bars relative to its own average, summed over the last rows. Source: TA-Lib `MASSI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::leap::TILE;
use super::restored::restored;
use super::rolling::RollingSum;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit {
    name: "massi",
    kind: StateKind::Recursive,
    keeps: "two averages, and the sum and the quotients of the window",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, window) = (Glide::new(period(values, 0)), period(values, 1));
    Some(Box::new(Massi { once: average.clone(), twice: average, ratios: RollingSum::new(window) }))
}

#[derive(Debug)]
struct Massi {
    once: Glide,
    twice: Glide,
    ratios: RollingSum,
}

impl Rows for Massi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let [mut ranges, mut averages, mut ratios] = [[0.0; TILE]; 3];
        let outs = out.real().chunks_mut(TILE);
        for ((high, low), out) in high.chunks(TILE).zip(low.chunks(TILE)).zip(outs) {
            for ((range, high), low) in ranges.iter_mut().zip(high).zip(low) {
                *range = high - low;
            }
            let n = out.len();
            let cold = self.once.run(&ranges[..n], &mut averages);
            let cold = cold + self.twice.run(&averages[cold..n], &mut ratios[cold..n]);
            for (ratio, average) in ratios[cold..n].iter_mut().zip(&averages[cold..n]) {
                *ratio = if *ratio == 0.0 { 1.0 } else { average / *ratio };
            }
            out[..cold].fill(0.0);
            self.ratios.run(&ratios[cold..n], &mut out[cold..]);
        }
        Ok(())
    }
}

impl Running for Massi {
    fn reset(&mut self) {
        self.once.reset();
        self.twice.reset();
        self.ratios.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.once.save(state);
        self.twice.save(state);
        self.ratios.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.once.load(&mut saved)?;
        self.twice.load(&mut saved)?;
        self.ratios.load(&mut saved)?;
        saved.end()
    }
}
