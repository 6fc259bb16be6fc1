//! Ticks and labels of time, in two lines: days or months above, the month or year they belong to below.

use chrono::NaiveDateTime;

use super::{
    calendar::{LADDER, Unit, runs},
    canvas::{Anchor, Canvas, Font, Pen},
    label,
    layout::{Layout, Slots},
    model::BarPoint,
    palette::Palette,
};

/// A place on the time axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) idx: usize,
    pub(super) label: String,
    /// Label of the second line, where a new month or year begins.
    pub(super) context: Option<String>,
}

const FONT_SIZE: f64 = 11.5;

/// Ticks at the first bar of each unit, as fine as there is room for, no two labels overlapping.
pub(super) fn ticks(bars: &[BarPoint], slots: &Slots, width: f64) -> Vec<Tick> {
    let Some(unit) = unit_for(bars, width) else {
        return Vec::new();
    };
    let mut candidates = boundaries(bars, unit);
    if candidates.is_empty() {
        // Too few bars for any round time: name the first one.
        candidates.extend(bars.first().map(|bar| (0, bar.ts)));
    }
    let placed = without_overlaps(&candidates, unit, slots);
    let mut last_context = None;
    placed
        .into_iter()
        .map(|(idx, ts)| {
            let context = unit.context().map(|context| (context, context.key(ts)));
            let is_new = context != last_context;
            last_context = context;
            Tick {
                idx,
                label: unit.label(ts),
                context: context.filter(|_| is_new).map(|(context, _)| context.context_label(ts)),
            }
        })
        .collect()
}

fn unit_for(bars: &[BarPoint], width: f64) -> Option<Unit> {
    let is_intraday = bars.windows(2).any(|pair| pair[0].ts.date() == pair[1].ts.date());
    LADDER
        .into_iter()
        .filter(|unit| is_intraday || !matches!(unit, Unit::Minutes(_)))
        .find(|unit| runs(*unit, bars.iter().map(|bar| bar.ts)) as f64 * unit.label_room() <= width)
        .or(LADDER.last().copied())
}

/// Every bar that begins a new unit; the first bar does only if it is known to.
fn boundaries(bars: &[BarPoint], unit: Unit) -> Vec<(usize, NaiveDateTime)> {
    bars.windows(2)
        .enumerate()
        .filter(|(_, pair)| unit.key(pair[0].ts) != unit.key(pair[1].ts))
        .map(|(idx, pair)| (idx + 1, pair[1].ts))
        .collect()
}

/// Keeps the ticks that begin a month or year first, then all others with room beside them.
fn without_overlaps(candidates: &[(usize, NaiveDateTime)], unit: Unit, slots: &Slots) -> Vec<(usize, NaiveDateTime)> {
    let mut ranked: Vec<(bool, usize, NaiveDateTime)> = Vec::with_capacity(candidates.len());
    let mut last_context = None;
    for (idx, ts) in candidates {
        let context = unit.context().map(|context| context.key(*ts));
        // The very first one only continues what began before the picture.
        let is_minor = context.is_none() || context == last_context || last_context.is_none();
        last_context = context;
        ranked.push((is_minor, *idx, *ts));
    }
    ranked.sort_by_key(|(is_minor, idx, _)| (*is_minor, *idx));
    let gap = unit.label_room() * 0.72;
    let mut placed: Vec<(usize, NaiveDateTime)> = Vec::new();
    for (_, idx, ts) in ranked {
        let x = slots.centre(idx);
        let place = placed.partition_point(|it| it.0 < idx);
        let is_far = |it: &(usize, NaiveDateTime)| (slots.centre(it.0) - x).abs() >= gap;
        let is_free = placed[..place].last().is_none_or(is_far) && placed[place..].first().is_none_or(is_far);
        if is_free {
            placed.insert(place, (idx, ts));
        }
    }
    placed
}

/// Vertical grid lines through all panels.
pub(super) fn draw_grid(out: &mut Canvas, ticks: &[Tick], slots: &Slots, layout: &Layout, palette: &Palette) {
    for tick in ticks {
        let x = slots.centre(tick.idx).round() + 0.5;
        for area in layout.areas() {
            let colour = if tick.context.is_some() && tick.idx > 0 { palette.border } else { palette.grid };
            out.line((x, area.top), (x, area.bottom), Pen::new(colour, 1.0));
        }
    }
}

/// Labels beneath the lowest panel.
pub(super) fn draw_labels(out: &mut Canvas, ticks: &[Tick], slots: &Slots, layout: &Layout, palette: &Palette) {
    let top = layout.bottom();
    let (left, right) = (layout.price.left, layout.price.right);
    let font = Font { size: FONT_SIZE, is_bold: false, anchor: Anchor::Middle, colour: palette.muted };
    for tick in ticks {
        let x = slots.centre(tick.idx);
        out.line((x.round() + 0.5, top), (x.round() + 0.5, top + 4.0), Pen::new(palette.border, 1.0));
        let half = label::width(&tick.label, FONT_SIZE) / 2.0;
        // A label wider than the picture's edge allows moves inwards.
        let x = x.clamp(half + 2.0, (right + 40.0 - half).max(half + 2.0));
        out.text(x, top + 17.0, &tick.label, font);
    }
    let bold = Font { is_bold: true, colour: palette.text, ..font };
    // From right to left: where two are too close, the later one names more of what is seen.
    let mut free_until = right + 40.0;
    for tick in ticks.iter().rev() {
        let Some(context) = &tick.context else {
            continue;
        };
        let half = label::width(context, FONT_SIZE) * 1.1 / 2.0;
        let x = slots.centre(tick.idx).max(left + half);
        if x + half <= free_until {
            out.text(x, top + 33.0, context, bold);
            free_until = x - half - 10.0;
        }
    }
}
