//! Supertrend: a stop some average true ranges from the middle of the bar, which only ever follows the price.
//! Source: TA-Lib `SUPERTREND`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::restored::restored;
use super::smooth::Smooth;
use super::true_range::true_range;

pub(crate) static UNIT: Unit = Unit {
    name: "supertrend",
    kind: StateKind::Recursive,
    keeps: "the average true range, the last close, both bands and the direction",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, multiplier) = (Smooth::wilder(period(values, 0)), real(values, 1));
    Some(Box::new(Supertrend { average, multiplier, close: None, bands: None }))
}

#[derive(Debug)]
struct Supertrend {
    average: Smooth,
    multiplier: f64,
    close: Option<f64>,
    bands: Option<Bands>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bands {
    upper: f64,
    lower: f64,
    is_up: bool,
}

impl Supertrend {
    fn step(&mut self, high: f64, low: f64, close: f64) -> Option<Bands> {
        let before = self.close.replace(close)?;
        let average = self.average.step(true_range(high, low, before))?;
        let (middle, width) = ((high + low) / 2.0, self.multiplier * average);
        let (upper, lower) = (middle + width, middle - width);
        let bands = match self.bands {
            // The first bands belong to an upward trend, whatever the price does.
            None => Bands { upper, lower, is_up: true },
            Some(last) => {
                let upper = if upper < last.upper || before > last.upper { upper } else { last.upper };
                let lower = if lower > last.lower || before < last.lower { lower } else { last.lower };
                let is_up = if last.is_up { close >= lower } else { close > upper };
                Bands { upper, lower, is_up }
            }
        };
        self.bands = Some(bands);
        self.bands
    }
}

impl Running for Supertrend {
    fn reset(&mut self) {
        self.average.reset();
        (self.close, self.bands) = (None, None);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [stop, trend]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let outs = stop.real().iter_mut().zip(trend.integer());
        for (((high, low), close), (stop, trend)) in high.iter().zip(*low).zip(*close).zip(outs) {
            let bands = self.step(*high, *low, *close).unwrap_or_default();
            (*stop, *trend) = if bands.is_up { (bands.lower, 1) } else { (bands.upper, -1) };
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        let bands = self.bands.unwrap_or_default();
        let flags = [self.close.is_some(), self.bands.is_some(), bands.is_up];
        state.extend(flags.map(|it| f64::from(u8::from(it))));
        state.extend([self.close.unwrap_or(0.0), bands.upper, bands.lower]);
        self.average.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let (has_close, has_bands) = (saved.count(1)? == 1, saved.count(1)? == 1);
        let is_up = saved.count(1)? == 1;
        let close = saved.number()?;
        let bands = Bands { upper: saved.number()?, lower: saved.number()?, is_up };
        self.close = has_close.then_some(close);
        self.bands = has_bands.then_some(bands);
        self.average.load(&mut saved)?;
        saved.end()
    }
}
