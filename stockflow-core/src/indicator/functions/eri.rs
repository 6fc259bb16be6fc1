//! Elder's ray index: how far the high and the low are from the exponential average of the close. Source: TA-Lib `ERI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::smooth::Smooth;

pub(crate) static UNIT: Unit = Unit { name: "eri", kind: StateKind::Recursive, keeps: "the average", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Eri { average: Smooth::exponential(period(values, 0)) }))
}

#[derive(Debug)]
struct Eri {
    average: Smooth,
}

impl Running for Eri {
    fn reset(&mut self) {
        self.average.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [bull, bear]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let outs = bull.real().iter_mut().zip(bear.real());
        for (((high, low), close), (bull, bear)) in high.iter().zip(*low).zip(*close).zip(outs) {
            let average = self.average.step(*close).unwrap_or(0.0);
            (*bull, *bear) = (high - average, low - average);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        saved.end()
    }
}
