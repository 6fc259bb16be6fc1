//! True strength index: the moves of a series averaged twice, over the same of their sizes, in percent. Source: TA-Lib
//! `TSI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::average::{Average, Link};
use super::decay::PASS;
use super::ema::Ema;
use super::past::room;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "tsi", kind: StateKind::Recursive, keeps: "the four averages so far and the last row", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (first, second) = (period(values, 0), period(values, 1));
    let twice = || {
        let first = Link::new(Box::new(Ema::new(first)), 1);
        let second = Link::new(Box::new(Ema::new(second)), first.lookback());
        [first, second]
    };
    Some(Box::new(Tsi { last: 0.0, moves: twice(), sizes: twice(), scratch: Default::default() }))
}

#[derive(Debug)]
struct Tsi {
    /// The last row; 0 before the first one, which is no move and which the averages skip.
    last: f64,
    moves: [Link; 2],
    sizes: [Link; 2],
    scratch: [Vec<f64>; 3],
}

impl Tsi {
    fn averages(&mut self) -> impl Iterator<Item = &mut Link> {
        self.moves.iter_mut().chain(&mut self.sizes)
    }
}

impl Running for Tsi {
    fn reset(&mut self) {
        self.last = 0.0;
        self.averages().for_each(Link::reset);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            let [raw, sizes, average] = self.scratch.each_mut().map(|it| room(it, input.len()));
            for ((raw, size), row) in raw.iter_mut().zip(&mut *sizes).zip(input) {
                (*raw, *size) = (row - self.last, (row - self.last).abs());
                self.last = *row;
            }
            let [first, second] = &mut self.moves;
            first.run(raw, average);
            second.run(average, out);
            let [first, second] = &mut self.sizes;
            first.run(sizes, average);
            second.run(average, raw);
            for (out, size) in out.iter_mut().zip(raw) {
                *out = if *size > 0.0 { 100.0 * *out / *size } else { 0.0 };
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.last);
        self.moves.iter().chain(&self.sizes).for_each(|it| it.save(state));
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.last = saved.number()?;
        self.averages().try_for_each(|it| it.load(&mut saved))?;
        saved.end()
    }
}
