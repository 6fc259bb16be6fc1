//! Standard deviation: the root of the variance of the last rows. Source: TA-Lib `STDDEV`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::decay::PASS;
use super::restored::restored;
use super::variance::Variance;

pub(crate) static UNIT: Unit =
    Unit { name: "stddev", kind: StateKind::Window, keeps: "the sums and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Stddev { variance: Variance::new(period(values, 0)), factor: real(values, 1) }))
}

#[derive(Debug)]
struct Stddev {
    variance: Variance,
    factor: f64,
}

impl Running for Stddev {
    fn reset(&mut self) {
        self.variance.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            self.variance.run(input, out);
            for out in out {
                *out = out.sqrt() * self.factor;
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.variance.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.variance.load(&mut saved)?;
        saved.end()
    }
}
