//! Divides the picture into panels and the width into slots.

use super::model::{Chart, Size};

/// A panel's data area; its title stands in the strip of [`TITLE_STRIP`] above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    pub(super) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Whether a label of ordinary size fits in.
    pub(super) fn has_room(&self) -> bool {
        self.height() >= 14.0
    }
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) price: Area,
    pub(super) volume: Option<Area>,
    pub(super) studies: Vec<Area>,
}

/// Space left and right of the header and below the axis.
pub(super) const MARGIN: f64 = 16.0;
/// Space for a panel's title and last values.
pub(super) const TITLE_STRIP: f64 = 22.0;
/// Space for the two lines of the time axis.
const TIME_AXIS: f64 = 42.0;

impl Layout {
    /// Panels beneath a header of `header` pixels and left of labels of `labels` pixels.
    pub(super) fn new(chart: &Chart, size: Size, header: f64, labels: f64) -> Self {
        const PRICE: f64 = 3.6;
        const VOLUME: f64 = 0.8;
        const STUDY: f64 = 1.0;
        let n_studies = chart.panels.len() as f64;
        let n_lower = n_studies + f64::from(u8::from(chart.has_volume()));
        let left = MARGIN;
        let right = (f64::from(size.width()) - labels).max(left + 40.0);
        let total = f64::from(size.height()) - header - TIME_AXIS;
        // In a very low picture titles shrink away before the data does.
        let strip = TITLE_STRIP.min((total * 0.4 / n_lower.max(1.0)).max(0.0));
        let has_volume = chart.has_volume();
        let weight = PRICE + n_studies * STUDY + if has_volume { VOLUME } else { 0.0 };
        let unit = ((total - n_lower * strip) / weight).max(1.0);
        let mut top = header;
        let mut area = |share: f64, strip: f64| {
            let area = Area { left, right, top: (top + strip).round(), bottom: (top + strip + share * unit).round() };
            top += strip + share * unit;
            area
        };
        Self {
            price: area(PRICE, 0.0),
            volume: has_volume.then(|| area(VOLUME, strip)),
            studies: chart.panels.iter().map(|_| area(STUDY, strip)).collect(),
        }
    }

    /// All areas from top to bottom.
    pub(super) fn areas(&self) -> impl Iterator<Item = &Area> {
        std::iter::once(&self.price).chain(&self.volume).chain(&self.studies)
    }

    /// The lowest edge, where the time axis begins.
    pub(super) fn bottom(&self) -> f64 {
        self.areas().last().map_or(0.0, |area| area.bottom)
    }
}

/// One slot of equal width for each bar: weekends and holidays take no room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slots {
    left: f64,
    step: f64,
    pub(super) n: usize,
}

impl Slots {
    pub(super) fn new(area: &Area, n: usize) -> Self {
        Self { left: area.left, step: area.width() / n.max(1) as f64, n }
    }

    /// Middle of the slots `first..=last`.
    pub(super) fn middle(&self, first: usize, last: usize) -> f64 {
        self.left + (first as f64 + last as f64 + 1.0) * 0.5 * self.step
    }

    pub(super) fn centre(&self, idx: usize) -> f64 {
        self.middle(idx, idx)
    }

    pub(super) fn step(&self) -> f64 {
        self.step
    }

    /// Width of a line, thinner where it has to turn within a pixel.
    pub(super) fn pen_width(&self, width: f64) -> f64 {
        if self.step < 1.0 { width * 0.7 } else { width }
    }

    /// Width of the body of a candle over `n` slots: odd whole pixels where there is room, so that edges are crisp.
    pub(super) fn body(&self, n: usize) -> f64 {
        let room = self.step * n as f64;
        let width = (room * 0.72).min(21.0);
        if width < 3.0 {
            return (room * 0.75).max(0.5);
        }
        let whole = width.floor();
        if whole % 2.0 == 0.0 { whole - 1.0 } else { whole }
    }
}
