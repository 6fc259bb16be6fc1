//! A panel with indicators of their own unit.

use super::{
    axis::{Axis, Ticks},
    canvas::{Anchor, Canvas, Font, Num, Pen, rect_path},
    label,
    layout::{Area, Slots},
    line,
    model::{Panel, Plot, drawable, last},
    palette::Palette,
    price::extent,
};

/// The panel's own range, or one that fits its data, its guides and, for columns, zero.
pub(super) fn axis(panel: &Panel, n_bars: usize, area: &Area) -> Axis {
    let pixels = (area.top, area.bottom);
    if let Some((low, high)) = panel.range.filter(|(low, high)| low.is_finite() && high.is_finite()) {
        return Axis::new((low, high), pixels);
    }
    let has_columns = panel.plots.iter().any(|it| matches!(it, Plot::Histogram(_)));
    let values = panel
        .plots
        .iter()
        .flat_map(|plot| plot.series().values.iter().take(n_bars))
        .filter_map(|value| drawable(*value))
        .chain(panel.guides.iter().filter_map(|guide| drawable(Some(*guide))))
        .chain(has_columns.then_some(0.0));
    Axis::new(extent(values).unwrap_or((0.0, 1.0)), pixels).padded(0.08, 0.08)
}

/// The guides as ticks, or round values where there are none.
pub(super) fn ticks(panel: &Panel, axis: &Axis) -> Ticks {
    let guides: Vec<f64> = panel.guides.iter().filter_map(|guide| drawable(Some(*guide))).collect();
    if guides.is_empty() {
        return axis.ticks(26.0);
    }
    Ticks { step: None, values: guides }
}

pub(super) fn draw(out: &mut Canvas, panel: &Panel, axis: &Axis, area: &Area, slots: &Slots, palette: &Palette) {
    draw_guides(out, panel, axis, area, palette);
    for plot in &panel.plots {
        if let Plot::Histogram(series) = plot {
            for is_up in [true, false] {
                let path = columns(&series.values, is_up, axis, slots);
                out.fill(&path, palette.direction(is_up), 0.5);
            }
            let zero = axis.y(0.0).round() + 0.5;
            out.line((area.left, zero), (area.right, zero), Pen::new(palette.guide, 1.0));
        }
    }
    for (idx, series) in lines(panel) {
        let pen = Pen::new(palette.line(idx), slots.pen_width(1.5)).with_dash(palette.dash(idx));
        out.stroke(&line::line(&series.values, axis, slots), pen);
    }
}

/// The lines of a panel with the place of their colour.
fn lines(panel: &Panel) -> impl Iterator<Item = (usize, &super::Series)> {
    panel
        .plots
        .iter()
        .filter_map(|plot| match plot {
            Plot::Line(series) => Some(series),
            Plot::Histogram(_) => None,
        })
        .enumerate()
        // Violet first: the gold of the first average above would suggest a kinship.
        .map(|(idx, series)| (idx + 2, series))
}

/// Dashed lines, and a tint between the lowest and the highest.
fn draw_guides(out: &mut Canvas, panel: &Panel, axis: &Axis, area: &Area, palette: &Palette) {
    let guides = || panel.guides.iter().filter_map(|guide| drawable(Some(*guide)));
    if let Some((low, high)) = extent(guides()).filter(|(low, high)| low < high) {
        let mut path = String::new();
        let (top, bottom) = (axis.y(high), axis.y(low));
        rect_path(&mut path, area.left, top, area.width(), bottom - top);
        out.fill(&path, palette.band, 0.06);
    }
    for guide in guides() {
        let y = axis.y(guide).round() + 0.5;
        out.line((area.left, y), (area.right, y), Pen::new(palette.guide, 1.0).with_dash("4 4"));
    }
}

/// Columns from zero of one sign; where bars are denser than pixels, one column of the largest value in each.
fn columns(values: &[Option<f64>], is_up: bool, axis: &Axis, slots: &Slots) -> String {
    let mut path = String::new();
    let zero = axis.y(0.0);
    let mut drawn: Option<(i64, f64, f64)> = None;
    let mut flush = |column: Option<(i64, f64, f64)>| {
        if let Some((_, x, y)) = column {
            let width = slots.body(1).max(0.8);
            let x = if width >= 3.0 { x.floor() + 0.5 } else { x };
            rect_path(&mut path, x - width / 2.0, y.min(zero), width, (zero - y).abs());
        }
    };
    for (idx, value) in values.iter().take(slots.n).enumerate() {
        let Some(value) = drawable(*value).filter(|it| (*it >= 0.0) == is_up && *it != 0.0) else {
            continue;
        };
        let (x, y) = (slots.centre(idx), axis.y(value));
        let pixel = if slots.step() < 1.0 { x.floor() as i64 } else { idx as i64 };
        drawn = match drawn {
            Some((seen, x, longest)) if seen == pixel => {
                let is_longer = (y - zero).abs() > (longest - zero).abs();
                Some((seen, x, if is_longer { y } else { longest }))
            }
            other => {
                flush(other);
                Some((pixel, x, y))
            }
        };
    }
    flush(drawn);
    path
}

/// Title, then each series with its last value in its colour.
pub(super) fn draw_title(out: &mut Canvas, panel: &Panel, n_bars: usize, area: &Area, palette: &Palette) {
    let shown = |values: &[Option<f64>]| last(values, n_bars).map_or("\u{2013}".to_owned(), label::value);
    let font = Font { size: 12.0, is_bold: true, anchor: Anchor::Start, colour: palette.text };
    let mut room = area.width();
    let title = label::fitted(&panel.title, font.size * 1.1, room);
    room -= label::width(&title, font.size * 1.1);
    let colours: Vec<&'static str> = lines(panel).map(|(idx, _)| palette.line(idx)).collect();
    let mut next_line = colours.into_iter();
    let mut spans = String::new();
    for plot in &panel.plots {
        let series = plot.series();
        let value = shown(&series.values);
        let colour = match plot {
            Plot::Line(_) => next_line.next().unwrap_or(palette.text),
            Plot::Histogram(_) => palette.direction(last(&series.values, n_bars).unwrap_or(0.0) >= 0.0),
        };
        // A panel of one series need not say its name twice.
        let text = if panel.plots.len() == 1 { value } else { format!("{} {value}", series.name) };
        room -= label::width(&text, font.size) + 12.0;
        if room < 0.0 {
            break;
        }
        spans.push_str(&format!(
            "<tspan dx=\"10\" font-weight=\"400\" fill=\"{colour}\">{}</tspan>",
            super::canvas::Escaped(&text)
        ));
    }
    out.raw(format_args!(
        "<text x=\"{}\" y=\"{}\" font-size=\"{}\" font-weight=\"700\" fill=\"{}\">{}{spans}</text>",
        Num(area.left),
        Num(area.top - 6.0),
        Num(font.size),
        font.colour,
        super::canvas::Escaped(&title),
    ));
}
