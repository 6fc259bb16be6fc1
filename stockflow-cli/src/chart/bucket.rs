//! Sums up bars where there is less room than two pixels for each.

use super::{
    calendar::{LADDER, Unit, runs},
    model::{BarPoint, drawable},
};

/// One candle: a bar, or several summed up as a wider bar would be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    /// Places of the first and the last bar that it covers.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) open: f64,
    pub(super) high: f64,
    pub(super) low: f64,
    pub(super) close: f64,
    /// Sum of the volumes above zero.
    pub(super) volume: f64,
}

impl Bucket {
    fn of(idx: usize, bar: &BarPoint) -> Option<Self> {
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(|price| drawable(Some(price)));
        let (open, high, low, close) = (open?, high?, low?, close?);
        Some(Self {
            first: idx,
            last: idx,
            open,
            // A bar whose close lies beyond its high still has to show its close.
            high: high.max(low).max(open).max(close),
            low: low.min(high).min(open).min(close),
            close,
            volume: drawable(Some(bar.volume)).unwrap_or(0.0).max(0.0),
        })
    }

    fn absorb(&mut self, next: &Self) {
        self.last = next.last;
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.close = next.close;
        self.volume = (self.volume + next.volume).min(1e300);
    }

    pub(super) fn is_up(&self) -> bool {
        self.close >= self.open
    }
}

/// The candles of a chart and what one of them stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    pub(super) candles: Vec<Bucket>,
    /// `week`, `3 months`, `12 bars`; `None` where a candle is one bar.
    pub(super) each: Option<String>,
}

const MIN_PIXELS_PER_BAR: f64 = 2.0;
const MIN_PIXELS_PER_BUCKET: f64 = 3.5;

/// One candle a bar if they can be told apart in `width` pixels, else one for each round stretch of time.
pub(super) fn buckets(bars: &[BarPoint], width: f64) -> Buckets {
    let singles: Vec<Bucket> = bars.iter().enumerate().filter_map(|(idx, bar)| Bucket::of(idx, bar)).collect();
    if width >= MIN_PIXELS_PER_BAR * bars.len() as f64 {
        return Buckets { candles: singles, each: None };
    }
    let room = (width / MIN_PIXELS_PER_BUCKET).max(1.0) as usize;
    match unit_that_fits(bars, room) {
        Some(unit) => Buckets {
            candles: merged(&singles, |idx| bars.get(idx).map_or(0, |bar| unit.key(bar.ts))),
            each: Some(unit.name()),
        },
        None => {
            let n = bars.len().div_ceil(room);
            Buckets { candles: merged(&singles, |idx| (idx / n) as i64), each: Some(format!("{n} bars")) }
        }
    }
}

/// The finest unit that leaves at most `room` candles but, for a picture worth looking at, at least a few.
fn unit_that_fits(bars: &[BarPoint], room: usize) -> Option<Unit> {
    LADDER
        .into_iter()
        // Two months are no wider bar that anyone speaks of.
        .filter(|unit| *unit != Unit::Months(2))
        .map(|unit| (unit, runs(unit, bars.iter().map(|bar| bar.ts))))
        .find(|(_, n)| *n <= room)
        .filter(|(_, n)| n * 10 >= room)
        .map(|(unit, _)| unit)
}

fn merged(singles: &[Bucket], key: impl Fn(usize) -> i64) -> Vec<Bucket> {
    let mut out: Vec<Bucket> = Vec::new();
    for bucket in singles {
        match out.last_mut() {
            Some(last) if key(last.first) == key(bucket.first) => last.absorb(bucket),
            _ => out.push(*bucket),
        }
    }
    out
}
