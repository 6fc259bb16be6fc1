//! What a chart shows, as plain data.

use chrono::NaiveDateTime;

use super::Error;

/// A picture of one symbol's bars with its indicators.
///
/// Every series has one entry per bar; a shorter one counts as missing at its end, a longer one is cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    /// Usually the symbol.
    pub(crate) title: String,
    /// Interval, basis and date range; notes on how the picture was drawn are added behind it.
    pub(crate) subtitle: String,
    /// In time order. A bar with a value that is not finite leaves an empty place.
    pub(crate) bars: Vec<BarPoint>,
    /// Drawn over the candles, first one first.
    pub(crate) overlays: Vec<Overlay>,
    /// Drawn below price and volume, from top to bottom.
    pub(crate) panels: Vec<Panel>,
    /// How prices are mapped to heights.
    pub(crate) price_scale: PriceScale,
}

impl Chart {
    /// A chart of bars alone, on a linear scale.
    pub(crate) fn new(title: impl Into<String>, subtitle: impl Into<String>, bars: Vec<BarPoint>) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            bars,
            overlays: Vec::new(),
            panels: Vec::new(),
            price_scale: PriceScale::Linear,
        }
    }

    /// Whether any bar has volume; without one there is no volume panel.
    pub(super) fn has_volume(&self) -> bool {
        self.bars.iter().any(|bar| bar.volume.is_finite() && bar.volume > 0.0)
    }
}

/// One bar: `ts` is its opening time (midnight for daily bars), prices are in quote currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BarPoint {
    pub(crate) ts: NaiveDateTime,
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: f64,
}

impl BarPoint {
    pub(super) fn is_drawable(&self) -> bool {
        [self.open, self.high, self.low, self.close].iter().all(|price| price.is_finite())
    }
}

/// Named values, one per bar; `None` (or a value that is not finite) breaks the line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), values }
    }
}

/// Something in the unit of the price, drawn over the candles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Overlay {
    /// A line, such as a moving average.
    Line(Series),
    /// One dot a bar, such as a parabolic SAR.
    Dots(Series),
    /// The filled area between two series, such as Bollinger bands; `middle` is a thin line within.
    Band { name: String, upper: Vec<Option<f64>>, middle: Option<Vec<Option<f64>>>, lower: Vec<Option<f64>> },
}

/// Indicators in a unit of their own, drawn beneath the prices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) plots: Vec<Plot>,
    /// Horizontal lines at known levels, such as 30 and 70 for RSI; they take the place of ordinary ticks.
    pub(crate) guides: Vec<f64>,
    /// Lowest and highest value of the axis, or `None` to fit the data.
    pub(crate) range: Option<(f64, f64)>,
}

impl Panel {
    pub(crate) fn new(title: impl Into<String>, plots: Vec<Plot>) -> Self {
        Self { title: title.into(), plots, guides: Vec::new(), range: None }
    }

    pub(crate) fn with_guides(mut self, guides: Vec<f64>) -> Self {
        self.guides = guides;
        self
    }

    pub(crate) fn with_range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

/// How one series of a panel is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plot {
    Line(Series),
    /// Columns from zero, coloured by sign.
    Histogram(Series),
}

impl Plot {
    pub(super) fn series(&self) -> &Series {
        match self {
            Self::Line(series) | Self::Histogram(series) => series,
        }
    }
}

/// How prices are mapped to heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PriceScale {
    #[default]
    Linear,
    /// Equal ratios are equal heights; prices of zero or below make the chart linear again, and the subtitle says so.
    Log,
}

/// The colours of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Theme {
    #[default]
    Light,
    Dark,
}

/// Width and height in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    width: u32,
    height: u32,
}

impl Size {
    const MIN: (u32, u32) = (320, 240);
    const MAX: u32 = 8192;

    /// A size between 320 × 240 and 8192 × 8192, otherwise [`Error::Size`].
    pub(crate) fn new(width: u32, height: u32) -> Result<Self, Error> {
        let fits = (Self::MIN.0..=Self::MAX).contains(&width) && (Self::MIN.1..=Self::MAX).contains(&height);
        if fits { Ok(Self { width, height }) } else { Err(Error::Size { width, height }) }
    }

    /// 1200 pixels wide, and as high as the chart's panels ask for.
    pub(crate) fn fitting(chart: &Chart) -> Self {
        let volume = if chart.has_volume() { 110 } else { 0 };
        let panels = u32::try_from(chart.panels.len()).unwrap_or(u32::MAX);
        Self { width: 1200, height: panels.saturating_mul(130).saturating_add(560 + volume).min(Self::MAX) }
    }

    pub(crate) fn width(self) -> u32 {
        self.width
    }

    pub(crate) fn height(self) -> u32 {
        self.height
    }
}

/// A value that can be drawn: finite, and small enough that differences do not overflow.
pub(super) fn drawable(value: Option<f64>) -> Option<f64> {
    value.filter(|it| it.is_finite()).map(|it| it.clamp(-1e300, 1e300))
}

/// The last value of a series of `n_bars` that can be drawn at its very end, for legends.
pub(super) fn last(values: &[Option<f64>], n_bars: usize) -> Option<f64> {
    n_bars.checked_sub(1).and_then(|idx| values.get(idx).copied().flatten()).and_then(|value| drawable(Some(value)))
}
