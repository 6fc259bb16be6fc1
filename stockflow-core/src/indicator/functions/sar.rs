//! Parabolic stop and reverse: a stop that follows the price faster and faster until the price crosses it.
//! Source: TA-Lib `SAR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, real};
use super::restored::restored;
use super::true_range::{greater, lesser};
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "sar", kind: StateKind::Recursive, keeps: "the stop, its speed, the extreme and the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let maximum = real(values, 1);
    let acceleration = real(values, 0).min(maximum);
    Some(Box::new(Sar { acceleration, maximum, seen: 0, trend: Trend::default() }))
}

#[derive(Debug)]
struct Sar {
    acceleration: f64,
    maximum: f64,
    /// Rows so far: none, one, or more.
    seen: usize,
    trend: Trend,
}

#[derive(Debug, Default, Clone, Copy)]
struct Trend {
    is_long: bool,
    stop: f64,
    extreme: f64,
    speed: f64,
    high: f64,
    low: f64,
}

impl Sar {
    /// The direction of the second bar against the first one.
    fn begin(&mut self, high: f64, low: f64) {
        let before = self.trend;
        let (up, down) = (high - before.high, before.low - low);
        let is_long = !(down > 0.0 && up < down);
        let (stop, extreme) = if is_long { (before.low, high) } else { (before.high, low) };
        // Its own bar stands in for the one before, as in TA-Lib.
        self.trend = Trend { is_long, stop, extreme, speed: self.acceleration, high, low };
    }

    /// One row: the stop as it stands, and where it goes next.
    #[inline(always)]
    fn step(&self, t: Trend, high: f64, low: f64) -> (f64, Trend) {
        // The same to the last bit whether an instruction or a function rounds it: whether the price touches the stop
        // depends on it.
        let next = |stop: f64, speed: f64, extreme: f64| speed.mul_add(extreme - stop, stop);
        let (highest, lowest) = (greater(t.high, high), lesser(t.low, low));
        let (above, below) = (|stop: f64| greater(stop, highest), |stop: f64| lesser(stop, lowest));
        let faster = lesser(t.speed + self.acceleration, self.maximum);
        if t.is_long {
            if low <= t.stop {
                let given = above(t.extreme);
                let speed = self.acceleration;
                let stop = above(next(given, speed, low));
                (given, Trend { is_long: false, stop, extreme: low, speed, high, low })
            } else {
                let is_new = high > t.extreme;
                let extreme = greater(high, t.extreme);
                let speed = if is_new { faster } else { t.speed };
                (t.stop, Trend { is_long: true, stop: below(next(t.stop, speed, extreme)), extreme, speed, high, low })
            }
        } else if high >= t.stop {
            let given = below(t.extreme);
            let speed = self.acceleration;
            let stop = below(next(given, speed, high));
            (given, Trend { is_long: true, stop, extreme: high, speed, high, low })
        } else {
            let is_new = low < t.extreme;
            let extreme = lesser(low, t.extreme);
            let speed = if is_new { faster } else { t.speed };
            (t.stop, Trend { is_long: false, stop: above(next(t.stop, speed, extreme)), extreme, speed, high, low })
        }
    }
}

impl Rows for Sar {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let mut rows = high.iter().zip(*low).zip(out.real());
        while self.seen < 2 {
            let Some(((high, low), out)) = rows.next() else { return Ok(()) };
            if self.seen == 0 {
                (self.trend.high, self.trend.low) = (*high, *low);
                *out = 0.0;
            } else {
                self.begin(*high, *low);
                (*out, self.trend) = self.step(self.trend, *high, *low);
            }
            self.seen += 1;
        }
        let mut trend = self.trend;
        for ((high, low), out) in rows {
            (*out, trend) = self.step(trend, *high, *low);
        }
        self.trend = trend;
        Ok(())
    }
}

impl Running for Sar {
    fn reset(&mut self) {
        (self.seen, self.trend) = (0, Trend::default());
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        let t = self.trend;
        let is_long = f64::from(u8::from(t.is_long));
        state.extend([self.seen as f64, is_long, t.stop, t.extreme, t.speed, t.high, t.low]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(2)?;
        self.trend = Trend {
            is_long: saved.count(1)? == 1,
            stop: saved.number()?,
            extreme: saved.number()?,
            speed: saved.number()?,
            high: saved.number()?,
            low: saved.number()?,
        };
        saved.end()
    }
}
