//! The walk of a parabolic stop: it follows the price faster and faster until the price crosses it, and turns then.
//! Source: TA-Lib `SAR` and `SAREXT`, which differ in parameters and in the sign of what is given.

use super::super::running::{Out, Running};
use super::restored::restored;
use super::true_range::{greater, lesser};
use super::wide::{Rows, update};

/// How fast the stop goes at first, how much faster with each new extreme, and how fast at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) first: f64,
    pub(crate) more: f64,
    pub(crate) most: f64,
}

#[derive(Debug)]
pub(crate) struct Parabolic {
    /// Where the first stop is, and by its sign the direction; 0 takes both from the first bars.
    start_value: f64,
    /// How far a reversed stop starts from where it would, as a part of it.
    offset: f64,
    long: Side,
    short: Side,
    /// What the stop of a downward trend is multiplied by where it is given.
    below: f64,
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

impl Parabolic {
    pub(crate) fn new(start_value: f64, offset: f64, long: Side, short: Side, below: f64) -> Self {
        Self { start_value, offset, long, short, below, seen: 0, trend: Trend::default() }
    }

    /// The direction of the second bar against the first one, unless the parameters say it.
    fn begin(&mut self, high: f64, low: f64) {
        let before = self.trend;
        let (up, down) = (high - before.high, before.low - low);
        let is_long = if self.start_value == 0.0 { !(down > 0.0 && up < down) } else { self.start_value > 0.0 };
        let stop = match (self.start_value == 0.0, is_long) {
            (true, true) => before.low,
            (true, false) => before.high,
            (false, _) => self.start_value.abs(),
        };
        let extreme = if is_long { high } else { low };
        let speed = if is_long { self.long.first } else { self.short.first };
        self.trend = Trend { is_long, stop, extreme, speed, high, low };
    }

    /// One row: the stop as it stands, and where it goes next.
    #[inline(always)]
    fn step(&self, t: Trend, high: f64, low: f64) -> (f64, Trend) {
        // One rounding, as TA-Lib does: whether the price touches the stop depends on it.
        let next = |stop: f64, speed: f64, extreme: f64| speed.mul_add(extreme - stop, stop);
        let (highest, lowest) = (greater(t.high, high), lesser(t.low, low));
        let (above, below) = (|stop: f64| greater(stop, highest), |stop: f64| lesser(stop, lowest));
        if t.is_long {
            if low <= t.stop {
                let (stop, speed) = (above(t.extreme), self.short.first);
                let given = stop + self.offset(stop);
                (
                    self.below * given,
                    Trend { is_long: false, stop: above(next(given, speed, low)), extreme: low, speed, high, low },
                )
            } else {
                let is_new = high > t.extreme;
                let extreme = greater(high, t.extreme);
                let speed = if is_new { lesser(t.speed + self.long.more, self.long.most) } else { t.speed };
                (t.stop, Trend { is_long: true, stop: below(next(t.stop, speed, extreme)), extreme, speed, high, low })
            }
        } else if high >= t.stop {
            let (stop, speed) = (below(t.extreme), self.long.first);
            let given = stop - self.offset(stop);
            (given, Trend { is_long: true, stop: below(next(given, speed, high)), extreme: high, speed, high, low })
        } else {
            let is_new = low < t.extreme;
            let extreme = lesser(low, t.extreme);
            let speed = if is_new { lesser(t.speed + self.short.more, self.short.most) } else { t.speed };
            (
                self.below * t.stop,
                Trend { is_long: false, stop: above(next(t.stop, speed, extreme)), extreme, speed, high, low },
            )
        }
    }

    /// How far a reversed stop starts from where it would.
    #[inline(always)]
    fn offset(&self, stop: f64) -> f64 {
        if self.offset == 0.0 { 0.0 } else { stop * self.offset }
    }
}

impl Rows for Parabolic {
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

impl Running for Parabolic {
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
