//! The volume panel.

use super::{
    axis::Axis,
    bucket::Buckets,
    canvas::{Canvas, rect_path},
    layout::{Area, Slots},
    palette::Palette,
};

/// An axis from zero to the largest volume.
pub(super) fn axis(buckets: &Buckets, area: &Area) -> Axis {
    let largest = buckets.candles.iter().map(|candle| candle.volume).fold(0.0, f64::max);
    Axis::new((0.0, largest), (area.top, area.bottom)).padded(0.0, 0.04)
}

/// A column for each candle, in the muted colour of its direction.
pub(super) fn draw(out: &mut Canvas, buckets: &Buckets, axis: &Axis, slots: &Slots, palette: &Palette) {
    for is_up in [true, false] {
        let mut path = String::new();
        for candle in buckets.candles.iter().filter(|it| it.is_up() == is_up && it.volume > 0.0) {
            let width = slots.body(candle.last - candle.first + 1);
            let middle = slots.middle(candle.first, candle.last);
            let x = if width >= 3.0 { middle.floor() + 0.5 } else { middle };
            let (top, base) = (axis.y(candle.volume), axis.y(0.0));
            rect_path(&mut path, x - width / 2.0, top, width, base - top);
        }
        out.fill(&path, palette.direction(is_up), 0.5);
    }
}
