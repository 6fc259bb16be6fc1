//! Elder's force index: the exponential average of the price's change times the volume. Source: TA-Lib `EFI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::smooth::Smooth;

pub(crate) static UNIT: Unit =
    Unit { name: "efi", kind: StateKind::Recursive, keeps: "the average and the last price", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Efi { average: Smooth::exponential(period(values, 0)), last: None }))
}

#[derive(Debug)]
struct Efi {
    average: Smooth,
    last: Option<f64>,
}

impl Running for Efi {
    fn reset(&mut self) {
        self.average.reset();
        self.last = None;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([close, volume], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        for ((close, volume), out) in close.iter().zip(*volume).zip(out.real()) {
            *out = match self.last {
                Some(last) => self.average.step((close - last) * volume).unwrap_or(0.0),
                None => 0.0,
            };
            self.last = Some(*close);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([f64::from(u8::from(self.last.is_some())), self.last.unwrap_or(0.0)]);
        self.average.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let is_any = saved.count(1)? == 1;
        let last = saved.number()?;
        self.last = is_any.then_some(last);
        self.average.load(&mut saved)?;
        saved.end()
    }
}
