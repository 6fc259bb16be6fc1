//! Heikin-Ashi: bars whose open is the middle of the one before and whose close is the mean of the real bar.
//! Source: TA-Lib `HA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::restored::restored;
use super::true_range::{greater, lesser};

pub(crate) static UNIT: Unit =
    Unit { name: "ha", kind: StateKind::Recursive, keeps: "the open and close of the last bar", start };

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(HeikinAshi { last: None }))
}

#[derive(Debug)]
struct HeikinAshi {
    last: Option<(f64, f64)>,
}

impl Running for HeikinAshi {
    fn reset(&mut self) {
        self.last = None;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([open, high, low, close], [out_open, out_high, out_low, out_close]) = (inputs, outputs) else {
            return Err("it reads four series and gives four".into());
        };
        let bars = open.iter().zip(*high).zip(low.iter().zip(*close));
        let opens = out_open.real().iter_mut().zip(out_high.real());
        let outs = opens.zip(out_low.real().iter_mut().zip(out_close.real()));
        for (((open, high), (low, close)), ((out_open, out_high), (out_low, out_close))) in bars.zip(outs) {
            // The first bar opens in the middle of the real one.
            let (last_open, last_close) = self.last.unwrap_or((*open, *close));
            let new_open = (last_open + last_close) / 2.0;
            let new_close = (open + high + low + close) / 4.0;
            *out_open = new_open;
            *out_high = greater(new_close, greater(new_open, *high));
            *out_low = lesser(new_close, lesser(new_open, *low));
            *out_close = new_close;
            self.last = Some((new_open, new_close));
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        let (open, close) = self.last.unwrap_or_default();
        state.extend([f64::from(u8::from(self.last.is_some())), open, close]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let is_any = saved.count(1)? == 1;
        let last = (saved.number()?, saved.number()?);
        self.last = is_any.then_some(last);
        saved.end()
    }
}
