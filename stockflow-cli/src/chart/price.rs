//! The price panel: candles with lines over them.

use super::{
    axis::Axis,
    bucket::Buckets,
    canvas::{Anchor, Canvas, Font, Pen, line_path, rect_path},
    label,
    layout::{Area, Slots},
    line,
    model::{Chart, Overlay, PriceScale, drawable},
    palette::Palette,
};

/// Whether the scale is logarithmic: asked for, and possible because all prices are above zero.
pub(super) fn is_log(chart: &Chart, buckets: &Buckets) -> bool {
    chart.price_scale == PriceScale::Log
        && !buckets.candles.is_empty()
        && buckets.candles.iter().all(|candle| candle.low > 1e-200)
}

/// The axis for the bars, widened for the overlays as long as the bars keep most of the height.
pub(super) fn axis(chart: &Chart, buckets: &Buckets, area: &Area) -> Axis {
    let bars = extent(buckets.candles.iter().flat_map(|it| [it.low, it.high]));
    let Some((low, high)) = bars else {
        return Axis::new((0.0, 1.0), (area.top, area.bottom));
    };
    let is_log = is_log(chart, buckets);
    let all = extent(overlay_values(chart).filter_map(drawable).chain([low, high]));
    let (all_low, all_high) = all.unwrap_or((low, high));
    let reach = 0.15;
    let range = if is_log {
        // An overflow to infinity is harmless: the smaller of the two counts.
        let room = ((high.ln() - low.ln()) * reach).min(160.0).exp();
        (all_low.max(low / room), all_high.min(high * room))
    } else {
        let room = (high - low) * reach;
        (all_low.max(low - room), all_high.min(high + room))
    };
    let pixels = (area.top, area.bottom);
    let axis = if is_log { Axis::log(range, pixels) } else { Axis::new(range, pixels) };
    axis.padded(0.05, 0.05).not_below_zero(range.0)
}

fn overlay_values(chart: &Chart) -> impl Iterator<Item = Option<f64>> {
    let n = chart.bars.len();
    chart
        .overlays
        .iter()
        .flat_map(move |overlay| match overlay {
            Overlay::Line(series) | Overlay::Dots(series) => vec![&series.values],
            Overlay::Band { upper, lower, .. } => vec![upper, lower],
        })
        .flat_map(move |values| values.iter().take(n).copied())
}

/// Smallest and largest of the values.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |seen, value| match seen {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// Bands, candles, lines and dots, from back to front.
pub(super) fn draw(out: &mut Canvas, chart: &Chart, buckets: &Buckets, axis: &Axis, slots: &Slots, palette: &Palette) {
    for overlay in &chart.overlays {
        if let Overlay::Band { upper, middle, lower, .. } = overlay {
            out.fill(&line::band(upper, lower, axis, slots), palette.band, 0.1);
            let pen = Pen::new(palette.band, 1.0).with_opacity(0.65);
            out.stroke(&line::line(upper, axis, slots), pen);
            out.stroke(&line::line(lower, axis, slots), pen);
            if let Some(middle) = middle {
                out.stroke(&line::line(middle, axis, slots), pen.with_dash("4 3"));
            }
        }
    }
    draw_candles(out, buckets, axis, slots, palette);
    for (idx, overlay) in chart.overlays.iter().enumerate() {
        let colour = palette.line(idx);
        match overlay {
            Overlay::Line(series) => {
                let pen = Pen::new(colour, slots.pen_width(1.7)).with_dash(palette.dash(idx));
                out.stroke(&line::line(&series.values, axis, slots), pen);
            }
            Overlay::Dots(series) => out.fill(&line::dots(&series.values, axis, slots), colour, 1.0),
            Overlay::Band { .. } => {}
        }
    }
}

/// Two paths a direction, whatever the number of bars: wicks and bodies.
fn draw_candles(out: &mut Canvas, buckets: &Buckets, axis: &Axis, slots: &Slots, palette: &Palette) {
    for is_up in [true, false] {
        let mut wicks = String::new();
        let mut bodies = String::new();
        let mut hollow = String::new();
        let mut narrowest = f64::INFINITY;
        for candle in buckets.candles.iter().filter(|it| it.is_up() == is_up) {
            let width = slots.body(candle.last - candle.first + 1);
            narrowest = narrowest.min(width);
            let middle = slots.middle(candle.first, candle.last);
            // Lines of one pixel are crisp in the middle of a pixel; narrow candles keep even distances instead.
            let x = if width >= 3.0 { middle.floor() + 0.5 } else { middle };
            let top = axis.y(candle.open.max(candle.close));
            let bottom = axis.y(candle.open.min(candle.close));
            let (high, low) = (axis.y(candle.high), axis.y(candle.low));
            if is_up && width >= 5.0 && bottom - top >= 2.0 {
                // The outline is one pixel wide and lies within the body.
                line_path(&mut wicks, (x, high), (x, top));
                line_path(&mut wicks, (x, bottom), (x, low));
                rect_path(&mut hollow, x - width / 2.0 + 0.5, top + 0.5, width - 1.0, bottom - top - 1.0);
            } else {
                line_path(&mut wicks, (x, high), (x, low));
                let height = (bottom - top).max(1.0);
                let y = (top + bottom - height) / 2.0;
                rect_path(&mut bodies, x - width / 2.0, y, width, height);
            }
        }
        let colour = palette.direction(is_up);
        let wick = if narrowest < 3.0 { 0.8 } else { 1.0 };
        out.stroke(&wicks, Pen::new(colour, wick));
        out.fill(&bodies, colour, 1.0);
        out.fill(&hollow, palette.background, 1.0);
        out.stroke(&hollow, Pen::new(colour, 1.0));
    }
}

/// Dotted line and tag at the last close.
pub(super) fn draw_last_tag(out: &mut Canvas, y: f64, price: &str, is_up: bool, area: &Area, palette: &Palette) {
    let colour = palette.direction(is_up);
    let y = y.clamp(area.top, area.bottom);
    out.line(
        (area.left, y.round() + 0.5),
        (area.right, y.round() + 0.5),
        Pen::new(colour, 1.0).with_dash("1.5 3").with_opacity(0.9),
    );
    let width = label::width(price, 11.5) * 1.1 + 12.0;
    let x = area.right + 1.0;
    out.rect(x, y - 9.0, width, 18.0, colour);
    let font = Font { size: 11.5, is_bold: true, anchor: Anchor::Start, colour: palette.on_tag };
    out.text(x + 6.0, y + 4.1, price, font);
}
