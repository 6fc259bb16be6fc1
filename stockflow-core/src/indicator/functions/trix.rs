//! Trix: the change of an exponential average run three times, in percent. Source: TA-Lib `TRIX`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::cascade::Cascade;
use super::decay::PASS;
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit {
    name: "trix",
    kind: StateKind::Recursive,
    keeps: "the three averages so far and the last one before",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Trix { averages: Cascade::new(period(values, 0)), before: 0.0 }))
}

#[derive(Debug)]
struct Trix {
    averages: Cascade<3>,
    /// The third average at the last row.
    before: f64,
}

impl Running for Trix {
    fn reset(&mut self) {
        self.averages.reset();
        self.before = 0.0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            // The factor that they lack is the same for all of them, and only their ratios count. Within its lookback
            // the third average is 0.
            self.averages.run(input, out, |[_, _, third]| third);
            for out in out {
                let average = *out;
                let change = (average / self.before - 1.0) * 100.0;
                *out = if self.before == 0.0 { 0.0 } else { change };
                self.before = average;
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.before);
        self.averages.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.before = saved.number()?;
        self.averages.load(&mut saved)?;
        saved.end()
    }
}
