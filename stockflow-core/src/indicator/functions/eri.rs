//! Elder's ray index: how far the high and the low are from the exponential average of the close. Source: TA-Lib `ERI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit { name: "eri", kind: StateKind::Recursive, keeps: "the average", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Eri { average: Glide::new(period(values, 0)) }))
}

#[derive(Debug)]
struct Eri {
    average: Glide,
}

impl Eri {
    #[inline(always)]
    fn row(&mut self, [high, low, close]: [f64; 3], [bull, bear]: [&mut f64; 2]) {
        let mut average = [0.0];
        self.average.run(&[close], &mut average);
        (*bull, *bear) = (high - average[0], low - average[0]);
    }
}

impl Rows for Eri {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [bull, bear]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let (bull, bear) = (bull.real(), bear.real());
        let n = high.len().min(low.len()).min(close.len()).min(bull.len()).min(bear.len());
        let mut i = 0;
        while i < n && !self.average.is_even() {
            self.row([high[i], low[i], close[i]], [&mut bull[i], &mut bear[i]]);
            i += 1;
        }
        let mut average = self.average.clone();
        let bars =
            high[i..n].as_chunks::<2>().0.iter().zip(low[i..n].as_chunks::<2>().0).zip(close[i..n].as_chunks::<2>().0);
        let outs = bull[i..n].as_chunks_mut::<2>().0.iter_mut().zip(bear[i..n].as_chunks_mut::<2>().0);
        for (((high, low), close), (bull, bear)) in bars.zip(outs) {
            let [first, second] = average.pair(*close);
            *bull = [high[0] - first, high[1] - second];
            *bear = [low[0] - first, low[1] - second];
        }
        self.average = average;
        for i in n - (n - i) % 2..n {
            self.row([high[i], low[i], close[i]], [&mut bull[i], &mut bear[i]]);
        }
        Ok(())
    }
}

impl Running for Eri {
    fn reset(&mut self) {
        self.average.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        saved.end()
    }
}
