//! McGinley's dynamic: an average that moves the slower the farther the row is above it. Source: TA-Lib `MCGD`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit { name: "mcgd", kind: StateKind::Recursive, keeps: "the average", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Mcgd { period: period(values, 0) as f64, average: None }))
}

#[derive(Debug)]
struct Mcgd {
    period: f64,
    average: Option<f64>,
}

impl Mcgd {
    #[inline(always)]
    fn next(&self, average: f64, row: f64) -> f64 {
        let square = (row / average) * (row / average);
        let next = average + (row - average) / (self.period * (square * square));
        // An average or a row of nothing leaves it as it is.
        if next.is_finite() { next } else { average }
    }
}

impl Running for Mcgd {
    fn reset(&mut self) {
        self.average = None;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        let Some(mut average) = self.average.or(input.first().copied()) else { return Ok(()) };
        let mut rows = input.iter().zip(out.real());
        if self.average.is_none()
            && let Some((_, out)) = rows.next()
        {
            *out = average;
        }
        for (row, out) in rows {
            average = self.next(average, *row);
            *out = average;
        }
        self.average = Some(average);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([f64::from(u8::from(self.average.is_some())), self.average.unwrap_or(0.0)]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let (is_any, average) = (saved.count(1)? == 1, saved.number()?);
        self.average = is_any.then_some(average);
        saved.end()
    }
}
