//! Accumulative swing index: how strongly each bar goes beyond the one before, added up. Source: TA-Lib `ASI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, real};
use super::restored::restored;
use super::true_range::greater;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "asi", kind: StateKind::Recursive, keeps: "the sum and the last bar's close and body", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Asi { limit: real(values, 0), sum: 0.0, last: None }))
}

#[derive(Debug)]
struct Asi {
    /// The farthest a price may move.
    limit: f64,
    sum: f64,
    last: Option<Last>,
}

/// Of the last bar, the close and how far it is above the open.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    close: f64,
    body: f64,
}

impl Last {
    /// How strongly the next bar goes beyond this one.
    #[inline(always)]
    fn swing(self, high: f64, low: f64, next: Self, limit: f64) -> f64 {
        let strength = next.close - self.close + 0.5 * next.body + 0.25 * self.body;
        let (up, down) = ((high - self.close).abs(), (low - self.close).abs());
        let range = greater(greater(up - 0.5 * down, down - 0.5 * up), (high - low).abs()) + 0.25 * self.body.abs();
        // Divided before anyone asks whether that is allowed: so nothing waits for the answer.
        let swing = 50.0 * (strength / range) * (greater(up, down) / limit);
        if range == 0.0 { 0.0 } else { swing }
    }
}

impl Rows for Asi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([open, high, low, close], [out]) = (inputs, outputs) else { return Err("it reads four series".into()) };
        let (mut sum, mut last) = (self.sum, self.last);
        for ((((open, high), low), close), out) in open.iter().zip(*high).zip(*low).zip(*close).zip(out.real()) {
            let next = Last { close: *close, body: close - open };
            if let Some(last) = last {
                sum += last.swing(*high, *low, next, self.limit);
            }
            last = Some(next);
            *out = sum;
        }
        (self.sum, self.last) = (sum, last);
        Ok(())
    }
}

impl Running for Asi {
    fn reset(&mut self) {
        (self.sum, self.last) = (0.0, None);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        let last = self.last.unwrap_or_default();
        state.extend([f64::from(u8::from(self.last.is_some())), self.sum, last.close, last.body]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let is_any = saved.count(1)? == 1;
        self.sum = saved.number()?;
        let last = Last { close: saved.number()?, body: saved.number()? };
        self.last = is_any.then_some(last);
        saved.end()
    }
}
