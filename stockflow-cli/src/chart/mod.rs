//! Draws price charts: candles, volume and indicators as SVG or PNG.
//!
//! [`Chart`] is plain data, one entry per bar; nothing here knows where the bars come from.
//! [`svg`] turns it into a self-contained document, and [`png`] rasterises that document with a font
//! that is part of the program, so a machine without any font draws the same picture.
//! The same input gives the same bytes.
//!
//! How the pieces fit: `layout` divides the picture into panels, `bucket` sums up bars that are too dense to be told
//! apart, `axis` and `calendar` find ticks, `price`, `volume` and `study` draw one panel each, `scene` puts them together.
//!
//! What is not here: reading data, computing indicators, choosing a file name.

mod axis;
mod bucket;
mod calendar;
mod canvas;
mod header;
mod label;
mod last_price;
mod layout;
mod line;
mod model;
mod palette;
mod price;
mod raster;
mod scene;
mod study;
mod time_axis;
mod volume;

#[cfg(test)]
mod tests;

pub(crate) use model::{BarPoint, Chart, Overlay, Panel, Plot, PriceScale, Series, Size, Theme};
pub(crate) use raster::png;
pub(crate) use scene::svg;

/// Why a chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The picture would be too small to hold its labels or too large to hold in memory.
    #[error("invalid size for chart: `{width}x{height}` is not between `320x240` and `8192x8192`")]
    Size { width: u32, height: u32 },
    /// The pixel ratio is zero or too large.
    #[error("invalid pixel ratio for chart: `{ratio}` is not in 1..=4")]
    PixelRatio { ratio: u32 },
    /// The picture could not be turned into pixels.
    #[error("drawing the chart as PNG failed: {reason}")]
    Raster { reason: String },
}
