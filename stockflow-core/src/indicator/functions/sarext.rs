//! Parabolic stop and reverse with parameters of its own for either direction; the stop of a downward trend is given
//! as a negative number. Source: TA-Lib `SAREXT`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, real};
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit {
    name: "sarext",
    kind: StateKind::Recursive,
    keeps: "the stop, its speed, the extreme and the last bar",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let side = |at| {
        let most = real(values, at + 2);
        Side { first: real(values, at).min(most), more: real(values, at + 1).min(most), most }
    };
    let (long, short) = (side(2), side(5));
    let (start_value, offset) = (real(values, 0), real(values, 1));
    Some(Box::new(Sarext { start_value, offset, long, short, seen: 0, trend: Trend::default() }))
}

/// How fast the stop goes at first, how much faster with each new extreme, and how fast at most.
#[derive(Debug, Clone, Copy)]
struct Side {
    first: f64,
    more: f64,
    most: f64,
}

#[derive(Debug)]
struct Sarext {
    start_value: f64,
    offset: f64,
    long: Side,
    short: Side,
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

impl Sarext {
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

    fn step(&mut self, high: f64, low: f64) -> f64 {
        let t = self.trend;
        let above = |stop: f64| {
            let stop = if stop < t.high { t.high } else { stop };
            if stop < high { high } else { stop }
        };
        let below = |stop: f64| {
            let stop = if stop > t.low { t.low } else { stop };
            if stop > low { low } else { stop }
        };
        let is_crossed = if t.is_long { low <= t.stop } else { high >= t.stop };
        let is_long = t.is_long != is_crossed;
        let (side, bound): (_, &dyn Fn(f64) -> f64) = if is_long { (self.long, &below) } else { (self.short, &above) };
        let (given, extreme, speed) = if is_crossed {
            let stop = bound(t.extreme);
            let offset = if self.offset == 0.0 { 0.0 } else { stop * self.offset };
            let given = if is_long { stop - offset } else { stop + offset };
            (given, if is_long { high } else { low }, side.first)
        } else {
            let is_new = if is_long { high > t.extreme } else { low < t.extreme };
            let faster = t.speed + side.more;
            let faster = if faster > side.most { side.most } else { faster };
            if is_new { (t.stop, if is_long { high } else { low }, faster) } else { (t.stop, t.extreme, t.speed) }
        };
        // One rounding, as TA-Lib does: whether the price touches the stop depends on it.
        let stop = bound(speed.mul_add(extreme - given, given));
        self.trend = Trend { is_long, stop, extreme, speed, high, low };
        if is_long { given } else { -given }
    }
}

impl Running for Sarext {
    fn reset(&mut self) {
        (self.seen, self.trend) = (0, Trend::default());
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        for ((high, low), out) in high.iter().zip(*low).zip(out.real()) {
            if self.seen == 0 {
                (self.trend.high, self.trend.low) = (*high, *low);
                self.seen = 1;
                *out = 0.0;
                continue;
            }
            if self.seen == 1 {
                self.begin(*high, *low);
                self.seen = 2;
            }
            *out = self.step(*high, *low);
        }
        Ok(())
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
