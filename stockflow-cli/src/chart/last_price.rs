//! Last close and its change, at the right of the header.

use super::{
    canvas::{Anchor, Canvas, Font},
    label,
    layout::MARGIN,
    model::{Chart, drawable},
    palette::Palette,
};

const PRICE_SIZE: f64 = 21.0;
const CHANGE_SIZE: f64 = 12.5;

/// The last close, and its change against the close before if there is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LastPrice {
    price: String,
    change: String,
    colour: &'static str,
}

impl LastPrice {
    pub(super) fn of(chart: &Chart, palette: &Palette) -> Option<Self> {
        let mut closes =
            chart.bars.iter().rev().filter(|bar| bar.is_drawable()).filter_map(|bar| drawable(Some(bar.close)));
        let close = closes.next()?;
        let before = closes.next();
        let change = before.map(|before| close - before);
        let colour = match change {
            Some(change) if change != 0.0 => palette.direction(change > 0.0),
            _ => palette.muted,
        };
        Some(Self {
            price: label::value(close),
            change: before.map_or_else(String::new, |before| change_text(close, before)),
            colour,
        })
    }

    /// Pixels that it takes from the title's lines.
    pub(super) fn width(&self) -> f64 {
        let price = label::width(&self.price, PRICE_SIZE * 1.12);
        price.max(label::width(&self.change, CHANGE_SIZE)) + 16.0
    }

    pub(super) fn draw(&self, out: &mut Canvas, palette: &Palette, width: f64) {
        let price = Font { size: PRICE_SIZE, is_bold: true, anchor: Anchor::End, colour: palette.text };
        out.text(width - MARGIN, 32.0, &self.price, price);
        let change = Font { size: CHANGE_SIZE, is_bold: false, colour: self.colour, ..price };
        out.text(width - MARGIN, 52.0, &self.change, change);
    }
}

/// `+1.20 (+0.28%)`; without the percentage where the price before was not above zero.
fn change_text(close: f64, before: f64) -> String {
    let change = close - before;
    let mut text = label::change(change);
    let percent = change / before * 100.0;
    if before > 0.0 && percent.is_finite() {
        let percent = if percent.abs() < 0.005 { 0.0 } else { percent };
        text.push_str(&format!(" ({}%)", label::percent(percent)));
    }
    text
}
