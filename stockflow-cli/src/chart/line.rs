//! Turns a series into path data that looks the same however many values it has.

use std::fmt::Write as _;

use super::{axis::Axis, canvas::Num, layout::Slots, model::drawable};

/// A point of a line: place of the bar and height in pixels.
type Point = (usize, f64);

/// Unbroken stretches of the series, each thinned out to what its pixels can show.
fn stretches(values: &[Option<f64>], axis: &Axis, slots: &Slots) -> Vec<Vec<Point>> {
    let mut out = vec![Vec::new()];
    for (idx, value) in values.iter().take(slots.n).enumerate() {
        match (drawable(*value), out.last_mut()) {
            (Some(value), Some(stretch)) => stretch.push((idx, axis.y(value))),
            (None, Some(stretch)) if !stretch.is_empty() => out.push(Vec::new()),
            _ => {}
        }
    }
    out.retain(|stretch| !stretch.is_empty());
    if slots.step() < 1.0 {
        for stretch in &mut out {
            *stretch = thinned(stretch, slots);
        }
    }
    out
}

/// Of all points in one column of pixels the first, the lowest, the highest and the last: they draw the same line.
fn thinned(points: &[Point], slots: &Slots) -> Vec<Point> {
    let column = |point: &Point| slots.centre(point.0).floor() as i64;
    let mut out = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let mut kept: Vec<Point> = [
            group.first(),
            group.iter().min_by(|a, b| a.1.total_cmp(&b.1)),
            group.iter().max_by(|a, b| a.1.total_cmp(&b.1)),
            group.last(),
        ]
        .into_iter()
        .flatten()
        .copied()
        .collect();
        kept.sort_by_key(|point| point.0);
        kept.dedup_by_key(|point| point.0);
        out.append(&mut kept);
    }
    out
}

/// A coordinate to a tenth of a pixel: more cannot be seen in a line and makes the document longer.
fn tenth(coordinate: f64) -> Num {
    Num((coordinate * 10.0).round() / 10.0)
}

/// A line through the values, broken where one is missing; a value alone is a short dash.
pub(super) fn line(values: &[Option<f64>], axis: &Axis, slots: &Slots) -> String {
    let mut path = String::new();
    for stretch in stretches(values, axis, slots) {
        if let [(idx, y)] = stretch[..] {
            let half = (slots.step() * 0.35).clamp(0.75, 6.0);
            let _ = write!(path, "M{} {}h{}", tenth(slots.centre(idx) - half), tenth(y), tenth(2.0 * half));
            continue;
        }
        for (place, (idx, y)) in stretch.into_iter().enumerate() {
            let command = if place == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", tenth(slots.centre(idx)), tenth(y));
        }
    }
    path
}

/// The area between two series wherever both have a value.
pub(super) fn band(upper: &[Option<f64>], lower: &[Option<f64>], axis: &Axis, slots: &Slots) -> String {
    let upper_line = stretches(&where_both(upper, lower), axis, slots);
    let lower_line = stretches(&where_both(lower, upper), axis, slots);
    let mut path = String::new();
    for (above, below) in upper_line.iter().zip(&lower_line) {
        if above.len() < 2 {
            continue;
        }
        let outline = above.iter().chain(below.iter().rev());
        for (place, (idx, y)) in outline.enumerate() {
            let command = if place == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", tenth(slots.centre(*idx)), tenth(*y));
        }
        path.push('z');
    }
    path
}

/// The values of one series where the other has one too, so that both break at the same places.
fn where_both(values: &[Option<f64>], other: &[Option<f64>]) -> Vec<Option<f64>> {
    values.iter().zip(other).map(|(value, other)| drawable(*other).and(*value)).collect()
}

/// Small round dots.
pub(super) fn dots(values: &[Option<f64>], axis: &Axis, slots: &Slots) -> String {
    let radius = (slots.step() * 0.22).clamp(0.6, 2.2);
    let mut path = String::new();
    for (idx, y) in stretches(values, axis, slots).into_iter().flatten() {
        let _ = write!(
            path,
            "M{} {}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
            Num(slots.centre(idx) - radius),
            Num(y),
            r = Num(radius),
            d = Num(2.0 * radius),
        );
    }
    path
}
