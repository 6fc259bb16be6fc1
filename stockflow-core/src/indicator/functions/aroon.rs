//! Aroon: how recent the lowest low and the highest high of the last rows are, in percent. Source: TA-Lib `AROON`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::extreme::Extremes;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "aroon", kind: StateKind::Window, keeps: "the highs and lows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Aroon::new(period(values, 0))))
}

/// The highs and lows of the window.
#[derive(Debug)]
pub(crate) struct Aroon {
    period: usize,
    extremes: Extremes,
}

impl Aroon {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self { period, extremes: Extremes::new(period + 1) }
    }
}

impl Running for Aroon {
    fn reset(&mut self) {
        self.extremes.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [down, up]) = (inputs, outputs) else { return Err("it reads two series, gives two".into()) };
        self.extremes.run([high, low], [up.real(), down.real()]);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        let tails = self.extremes.tails();
        state.push(tails[0].len() as f64);
        tails.iter().for_each(|tail| state.extend_from_slice(tail));
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let n = saved.count(self.period)?;
        self.extremes.load([saved.numbers(n)?, saved.numbers(n)?]);
        saved.end()
    }
}
