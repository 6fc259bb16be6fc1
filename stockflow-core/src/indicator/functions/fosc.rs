//! Forecast oscillator: how far the row is from where the straight line through the rows before it would be, in percent
//! of the row. Source: TA-Lib `FOSC`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::decay::PASS;
use super::tsf;

pub(crate) static UNIT: Unit = Unit {
    name: "fosc",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window, and the last forecast",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Fosc { line: (tsf::UNIT.start)(values)?, forecast: 0.0 }))
}

#[derive(Debug)]
struct Fosc {
    /// The forecast after each row.
    line: Box<dyn Running>,
    /// The forecast for the next row; anything before there is one.
    forecast: f64,
}

impl Running for Fosc {
    fn reset(&mut self) {
        self.line.reset();
        self.forecast = 0.0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        // The first place is that of the forecast from before.
        let mut forecasts = [0.0; PASS + 1];
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            let n = input.len();
            forecasts[0] = self.forecast;
            self.line.update(&[input], &mut [Out::Real(&mut forecasts[1..=n])])?;
            self.forecast = forecasts[n];
            for ((out, row), forecast) in out.iter_mut().zip(input).zip(&forecasts) {
                // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
                let part = 100.0 * (row - forecast) / row;
                *out = if *row != 0.0 { part } else { 0.0 };
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.forecast);
        self.line.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let (forecast, line) = state.split_first().ok_or("it is too short")?;
        if !forecast.is_finite() {
            return Err("it holds a number that is not finite".into());
        }
        self.forecast = *forecast;
        self.line.load(line)
    }
}
