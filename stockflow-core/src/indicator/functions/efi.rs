//! Elder's force index: the exponential average of the price's change times the volume. Source: TA-Lib `EFI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::leap::TILE;
use super::restored::restored;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "efi", kind: StateKind::Recursive, keeps: "the average and the last price", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Efi { average: Glide::new(period(values, 0)), last: None }))
}

#[derive(Debug)]
struct Efi {
    average: Glide,
    last: Option<f64>,
}

impl Rows for Efi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([close, volume], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let out = out.real();
        let mut forces = [0.0; TILE];
        if let ([first, ..], [first_volume, ..], [first_out, ..]) = (*close, *volume, &mut *out) {
            *first_out = 0.0;
            if let Some(last) = self.last {
                self.average.run(&[(first - last) * first_volume], std::slice::from_mut(first_out));
            }
            let bars = close[1..].chunks(TILE).zip(close.chunks(TILE)).zip(volume[1..].chunks(TILE));
            for (((close, before), volume), out) in bars.zip(out[1..].chunks_mut(TILE)) {
                for (((force, close), before), volume) in forces.iter_mut().zip(close).zip(before).zip(volume) {
                    *force = (close - before) * volume;
                }
                self.average.run(&forces[..out.len()], out);
            }
        }
        self.last = close.last().copied().or(self.last);
        Ok(())
    }
}

impl Running for Efi {
    fn reset(&mut self) {
        self.average.reset();
        self.last = None;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
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
