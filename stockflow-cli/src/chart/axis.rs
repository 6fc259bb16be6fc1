//! A vertical axis: from values to heights, and round values to label.

use super::{label, model::drawable};

/// Prices below this lie too close to zero for a logarithmic axis.
const SMALLEST_LOG: f64 = 1e-290;

/// Maps `low..=high` to `bottom..=top`; pixels grow downwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
    is_log: bool,
}

impl Axis {
    /// An axis over exactly this range; an empty or reversed one is widened.
    pub(super) fn new((low, high): (f64, f64), (top, bottom): (f64, f64)) -> Self {
        let low = drawable(Some(low)).unwrap_or(0.0);
        let high = drawable(Some(high)).unwrap_or(1.0);
        let (low, high) = widened(low.min(high), high.max(low));
        Self { low, high, top, bottom, is_log: false }
    }

    /// The same with equal heights for equal ratios; the range must be above zero, else the axis stays linear.
    pub(super) fn log((low, high): (f64, f64), pixels: (f64, f64)) -> Self {
        let axis = Self::new((low, high), pixels);
        Self { is_log: axis.low >= SMALLEST_LOG, ..axis }
    }

    /// The same axis with room above and below the data, as parts of the height.
    pub(super) fn padded(self, below: f64, above: f64) -> Self {
        let (low, high) = if self.is_log {
            // In logarithms, because the ratio itself may overflow.
            let decades = self.high.log10() - self.low.log10();
            (
                10f64.powf((self.low.log10() - decades * below).max(-300.0)),
                10f64.powf((self.high.log10() + decades * above).min(305.0)),
            )
        } else {
            let span = self.high - self.low;
            (self.low - span * below, self.high + span * above)
        };
        Self { low, high, ..self }
    }

    /// The same axis ending at zero if only padding, not the data with its lowest value `low`, reaches below.
    pub(super) fn not_below_zero(self, low: f64) -> Self {
        if low >= 0.0 && self.low < 0.0 && self.high > 0.0 { Self { low: 0.0, ..self } } else { self }
    }

    /// Height of a value in pixels, kept near the picture for values far outside.
    pub(super) fn y(&self, value: f64) -> f64 {
        let part = if self.is_log {
            // Zero and below has no logarithm: it lies beneath everything.
            let value = value.max(f64::MIN_POSITIVE);
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let height = self.bottom - self.top;
        (self.bottom - part * height).clamp(self.top - 4.0 * height, self.bottom + 4.0 * height)
    }

    /// Round values within the range, at least `gap` pixels apart.
    pub(super) fn ticks(&self, gap: f64) -> Ticks {
        if self.is_log { self.log_ticks(gap) } else { self.linear_ticks(gap) }
    }

    fn linear_ticks(&self, gap: f64) -> Ticks {
        let room = ((self.bottom - self.top) / gap).floor().max(1.0);
        let step = nice_step((self.high - self.low) / room);
        Ticks { step: Some(step), values: multiples(step, self.low, self.high) }
    }

    /// Round mantissas where the range spans decades; ordinary ticks, thinned out, where it does not.
    fn log_ticks(&self, gap: f64) -> Ticks {
        const MANTISSAS: [&[f64]; 4] =
            [&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], &[1.0, 2.0, 3.0, 5.0], &[1.0, 2.0, 5.0], &[1.0]];
        for mantissas in MANTISSAS {
            let values = self.decades(mantissas);
            if values.len() >= 4 && self.min_distance(&values) >= gap {
                return Ticks { step: None, values };
            }
        }
        let mut ticks = self.linear_ticks(gap * 0.5);
        let mut last_y = f64::INFINITY;
        ticks.values.retain(|value| {
            let y = self.y(*value);
            let is_apart = last_y - y >= gap;
            if is_apart {
                last_y = y;
            }
            is_apart
        });
        ticks
    }

    fn decades(&self, mantissas: &[f64]) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        // At most some 600 decades fit into a double; a picture has room for far fewer ticks.
        (first..=last)
            .flat_map(|exponent| mantissas.iter().map(move |it| it * 10f64.powi(exponent)))
            .filter(|value| (self.low..=self.high).contains(value))
            .collect()
    }

    fn min_distance(&self, values: &[f64]) -> f64 {
        values.windows(2).map(|pair| (self.y(pair[0]) - self.y(pair[1])).abs()).fold(f64::INFINITY, f64::min)
    }
}

/// Round values to label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    /// The step between the values, or `None` where each is round in its own way.
    pub(super) step: Option<f64>,
    pub(super) values: Vec<f64>,
}

impl Ticks {
    /// No ticks at all.
    pub(super) fn none() -> Self {
        Self { step: None, values: Vec::new() }
    }

    /// A value with as many decimals as it takes to tell it from its neighbours.
    pub(super) fn label(&self, value: f64) -> String {
        label::tick(value, self.step.unwrap_or(value.abs()))
    }
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `raw`.
pub(super) fn nice_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .map(|mantissa| mantissa * power)
        .find(|step| *step >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Multiples of `step` within the range, never more than a picture can hold.
fn multiples(step: f64, low: f64, high: f64) -> Vec<f64> {
    let first = (low / step).ceil();
    let last = (high / step).floor();
    let n = (last - first).clamp(-1.0, 500.0) as i64;
    (0..=n).map(|idx| (first + idx as f64) * step).filter(|value| value.is_finite()).collect()
}

/// The same range, or one around it that can be told apart in floating point.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-9 && high - low > 1e-290 {
        return (low, high);
    }
    let by = if size > 1e-280 { size * 0.01 } else { 1.0 };
    (low - by, high + by)
}
