//! Trix: the change of an exponential average run three times, in percent. Source: TA-Lib `TRIX`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::cascade::Cascade;
use super::decay::PASS;
use super::past::room;
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit {
    name: "trix",
    kind: StateKind::Recursive,
    keeps: "the three averages so far and the last one before",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Trix { averages: Cascade::new(period(values, 0)), before: 0.0, scratch: Default::default() }))
}

#[derive(Debug)]
struct Trix {
    averages: Cascade<3>,
    /// The third average at the last row.
    before: f64,
    scratch: [Vec<f64>; 3],
}

impl Running for Trix {
    fn reset(&mut self) {
        self.averages.reset();
        self.before = 0.0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            let [first, second, third] = self.scratch.each_mut().map(|it| room(it, input.len()));
            // Within its lookback the third average is nothing: it stays what no state can tell from another.
            third.fill(0.0);
            self.averages.run(input, [first, second, &mut *third]);
            for (out, average) in out.iter_mut().zip(third) {
                *out = if self.before != 0.0 { (*average / self.before - 1.0) * 100.0 } else { 0.0 };
                self.before = *average;
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
