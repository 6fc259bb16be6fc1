//! KDJ: the two lines of the stochastic, and a third as far beyond the first as that is from the second, twice. Source:
//! TA-Lib `KDJ`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::decay::PASS;
use super::restored::restored;
use super::stoch::Stoch;

pub(crate) static UNIT: Unit = Unit {
    name: "kdj",
    kind: StateKind::Recursive,
    keeps: "the highs and lows of the window and what the chosen averages keep",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Kdj(Stoch::new(values)?)))
}

#[derive(Debug)]
struct Kdj(Stoch);

impl Running for Kdj {
    fn reset(&mut self) {
        self.0.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [k, d, j]) = (inputs, outputs) else {
            return Err("it reads three series and gives three".into());
        };
        let bars = high.chunks(PASS).zip(low.chunks(PASS)).zip(close.chunks(PASS));
        let lines = k.real().chunks_mut(PASS).zip(d.real().chunks_mut(PASS)).zip(j.real().chunks_mut(PASS));
        for (((k, d), j), ((high, low), close)) in lines.zip(bars) {
            self.0.run(high, low, close, k, d);
            for ((j, k), d) in j.iter_mut().zip(k).zip(d) {
                *j = 3.0 * *k - 2.0 * *d;
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.0.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.0.load(&mut saved)?;
        saved.end()
    }
}
