//! Bollinger bands: an average, and lines some standard deviations above and below it. Source: TA-Lib `BBANDS`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::average::Average;
use super::decay::PASS;
use super::ma::{average, kind};
use super::restored::restored;
use super::variance::Variance;

pub(crate) static UNIT: Unit = Unit {
    name: "bbands",
    kind: StateKind::Recursive,
    keeps: "the sums and the rows of the window, and what the chosen average keeps",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0);
    let (up, down) = (real(values, 1), real(values, 2));
    Some(Box::new(Bbands { average: average(kind(values, 3)?, period)?, variance: Variance::new(period), up, down }))
}

#[derive(Debug)]
struct Bbands {
    average: Box<dyn Average>,
    variance: Variance,
    up: f64,
    down: f64,
}

impl Running for Bbands {
    fn reset(&mut self) {
        self.average.reset();
        self.variance.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [upper, middle, lower]) = (inputs, outputs) else {
            return Err("it reads one series and gives three".into());
        };
        let (uppers, middles, lowers) = (upper.real(), middle.real(), lower.real());
        let bands = uppers.chunks_mut(PASS).zip(middles.chunks_mut(PASS)).zip(lowers.chunks_mut(PASS));
        for (input, ((upper, middle), lower)) in input.chunks(PASS).zip(bands) {
            self.average.run(input, middle);
            self.variance.run(input, upper);
            for ((upper, middle), lower) in upper.iter_mut().zip(middle).zip(lower) {
                let deviation = upper.sqrt();
                *upper = *middle + deviation * self.up;
                *lower = *middle - deviation * self.down;
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
        self.variance.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        self.variance.load(&mut saved)?;
        saved.end()
    }
}
