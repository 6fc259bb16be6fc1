//! Bollinger bands: an average, and lines some standard deviations above and below it. Source: TA-Lib `BBANDS`.

use std::fmt;
use std::marker::PhantomData;

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::average::Average;
use super::decay::PASS;
use super::ma::{average, kind};
use super::restored::restored;
use super::variance::Variance;

pub(crate) static UNIT: Unit = Unit {
    name: "bbands",
    kind: StateKind::Recursive,
    keeps: "the sums and the rows of the window, and what the chosen average keeps",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Bbands(Bands::new(values)?)))
}

/// The average and the lines on both sides of it.
#[derive(Debug)]
pub(crate) struct Bands {
    average: Box<dyn Average>,
    variance: Variance,
    up: f64,
    down: f64,
}

impl Bands {
    /// From the parameters: the period, how many deviations up and down, and the kind of average.
    fn new(values: &[Value]) -> Option<Self> {
        let period = period(values, 0);
        let (up, down) = (real(values, 1), real(values, 2));
        Some(Self { average: average(kind(values, 3)?, period)?, variance: Variance::new(period), up, down })
    }

    fn reset(&mut self) {
        self.average.reset();
        self.variance.reset();
    }

    /// The bands at these rows, at most [`PASS`].
    fn run(&mut self, input: &[f64], [upper, middle, lower]: [&mut [f64]; 3]) {
        self.average.run(input, middle);
        self.variance.run(input, upper);
        for ((upper, middle), lower) in upper.iter_mut().zip(middle).zip(lower) {
            let deviation = upper.sqrt();
            *upper = *middle + deviation * self.up;
            *lower = *middle - deviation * self.down;
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
        self.variance.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        self.variance.load(&mut saved)?;
        saved.end()
    }
}

#[derive(Debug)]
struct Bbands(Bands);

impl Running for Bbands {
    fn reset(&mut self) {
        self.0.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [upper, middle, lower]) = (inputs, outputs) else {
            return Err("it reads one series and gives three".into());
        };
        let (uppers, middles, lowers) = (upper.real(), middle.real(), lower.real());
        let bands = uppers.chunks_mut(PASS).zip(middles.chunks_mut(PASS)).zip(lowers.chunks_mut(PASS));
        for (input, ((upper, middle), lower)) in input.chunks(PASS).zip(bands) {
            self.0.run(input, [upper, middle, lower]);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.0.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        self.0.load(state)
    }
}

/// What is read from a row and the bands around it.
pub(crate) trait Reading: fmt::Debug + Send + 'static {
    fn read(row: f64, upper: f64, middle: f64, lower: f64) -> f64;
}

/// A function that reads from the bands.
#[derive(Debug)]
pub(crate) struct Read<R> {
    bands: Bands,
    reading: PhantomData<R>,
}

impl<R: Reading> Read<R> {
    /// From the parameters of the bands.
    pub(crate) fn start(values: &[Value]) -> Option<Box<dyn Running>> {
        Some(Box::new(Self { bands: Bands::new(values)?, reading: PhantomData }))
    }
}

impl<R: Reading> Running for Read<R> {
    fn reset(&mut self) {
        self.bands.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        let [mut middles, mut lowers] = [[0.0; PASS]; 2];
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            let (middle, lower) = (&mut middles[..input.len()], &mut lowers[..input.len()]);
            self.bands.run(input, [out, middle, lower]);
            for (((out, middle), lower), row) in out.iter_mut().zip(middle).zip(lower).zip(input) {
                *out = R::read(*row, *out, *middle, *lower);
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.bands.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        self.bands.load(state)
    }
}
