//! Title, last price and legend above the price panel.

use super::{
    bucket::Buckets,
    canvas::{Anchor, Canvas, Escaped, Font, Num, Pen, rect_path},
    label,
    last_price::LastPrice,
    layout::MARGIN,
    model::{Chart, Overlay, PriceScale, last},
    palette::Palette,
};

const TITLE_SIZE: f64 = 21.0;
const SUBTITLE_SIZE: f64 = 12.5;
const TITLE_Y: f64 = 32.0;
const SUBTITLE_Y: f64 = 52.0;
const SUBTITLE_LINE: f64 = 18.0;
const LEGEND_SIZE: f64 = 12.0;
const LEGEND_LINE: f64 = 20.0;
const SWATCH: f64 = 18.0;

/// What the legend says of one overlay.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    value: String,
    swatch: Swatch,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Swatch {
    Line { colour: &'static str, dash: &'static str },
    Dots { colour: &'static str },
    Band { colour: &'static str },
}

impl Entry {
    fn width(&self) -> f64 {
        SWATCH + 6.0 + label::width(&self.name, LEGEND_SIZE) + 5.0 + label::width(&self.value, LEGEND_SIZE) * 1.1 + 20.0
    }
}

/// Everything above the price panel, with its height known before it is drawn.
#[derive(Debug)]
pub(super) struct Header {
    subtitle: Vec<String>,
    last: Option<LastPrice>,
    rows: Vec<Vec<Entry>>,
}

impl Header {
    /// The header of a picture `width` pixels wide, with `notes` behind the caller's subtitle.
    pub(super) fn new(chart: &Chart, notes: &[String], palette: &Palette, width: f64) -> Self {
        let last = LastPrice::of(chart, palette);
        let room = width - 2.0 * MARGIN;
        let beside = room - last.as_ref().map_or(0.0, LastPrice::width);
        Self { subtitle: wrapped(&chart.subtitle, notes, beside, room), last, rows: legend(chart, palette, room) }
    }

    pub(super) fn height(&self) -> f64 {
        self.legend_top() + 2.0 + self.rows.len() as f64 * LEGEND_LINE
    }

    fn legend_top(&self) -> f64 {
        66.0 + self.subtitle.len().saturating_sub(1) as f64 * SUBTITLE_LINE
    }

    pub(super) fn draw(&self, out: &mut Canvas, chart: &Chart, palette: &Palette, width: f64) {
        let taken = self.last.as_ref().map_or(0.0, LastPrice::width);
        if let Some(last) = &self.last {
            last.draw(out, palette, width);
        }
        let title = Font { size: TITLE_SIZE, is_bold: true, anchor: Anchor::Start, colour: palette.text };
        let room = width - 2.0 * MARGIN - taken;
        out.text(MARGIN, TITLE_Y, &label::fitted(&chart.title, TITLE_SIZE * 1.12, room), title);
        let muted = Font { size: SUBTITLE_SIZE, is_bold: false, colour: palette.muted, ..title };
        for (idx, line) in self.subtitle.iter().enumerate() {
            out.text(MARGIN, SUBTITLE_Y + idx as f64 * SUBTITLE_LINE, line, muted);
        }
        for (row, entries) in self.rows.iter().enumerate() {
            let y = self.legend_top() + (row as f64 + 0.5) * LEGEND_LINE;
            draw_row(out, entries, y, palette);
        }
    }
}

/// What a reader has to know about how the picture was drawn.
pub(super) fn notes(chart: &Chart, buckets: &Buckets, is_log: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(each) = &buckets.each {
        notes.push(format!("one candle per {each}"));
    }
    match (chart.price_scale, is_log) {
        (PriceScale::Log, true) => notes.push("log scale".to_owned()),
        (PriceScale::Log, false) if !buckets.candles.is_empty() => {
            notes.push("linear scale, as not all prices are positive".to_owned());
        }
        _ => {}
    }
    notes
}

/// Subtitle and notes in as few lines as they fit in; only the subtitle may be shortened, never a note.
fn wrapped(subtitle: &str, notes: &[String], beside_price: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if !subtitle.trim().is_empty() {
        lines.push(label::fitted(subtitle, SUBTITLE_SIZE, beside_price));
    }
    for note in notes {
        let room = if lines.len() <= 1 { beside_price } else { room };
        match lines.last_mut() {
            Some(line) if label::width(line, SUBTITLE_SIZE) + label::width(note, SUBTITLE_SIZE) + 14.0 <= room => {
                line.push_str(" \u{b7} ");
                line.push_str(note);
            }
            _ => lines.push(note.clone()),
        }
    }
    lines
}

/// The entries of all overlays, in lines.
fn legend(chart: &Chart, palette: &Palette, room: f64) -> Vec<Vec<Entry>> {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    let mut used = f64::INFINITY;
    for (idx, overlay) in chart.overlays.iter().enumerate() {
        let mut entry = entry(overlay, idx, chart.bars.len(), palette);
        let fixed = entry.width() - label::width(&entry.name, LEGEND_SIZE);
        entry.name = label::fitted(&entry.name, LEGEND_SIZE, room - fixed);
        if used + entry.width() > room {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += entry.width();
        if let Some(row) = rows.last_mut() {
            row.push(entry);
        }
    }
    // More lines would push the prices out of the picture.
    rows.truncate(4);
    rows
}

fn entry(overlay: &Overlay, idx: usize, n_bars: usize, palette: &Palette) -> Entry {
    let shown = |values: &[Option<f64>]| last(values, n_bars).map_or("\u{2013}".to_owned(), label::value);
    let colour = palette.line(idx);
    match overlay {
        Overlay::Line(series) => Entry {
            name: series.name.clone(),
            value: shown(&series.values),
            swatch: Swatch::Line { colour, dash: palette.dash(idx) },
        },
        Overlay::Dots(series) => {
            Entry { name: series.name.clone(), value: shown(&series.values), swatch: Swatch::Dots { colour } }
        }
        Overlay::Band { name, upper, lower, .. } => Entry {
            name: name.clone(),
            value: format!("{} to {}", shown(lower), shown(upper)),
            swatch: Swatch::Band { colour: palette.band },
        },
    }
}

fn draw_row(out: &mut Canvas, entries: &[Entry], y: f64, palette: &Palette) {
    let mut x = MARGIN;
    for entry in entries {
        draw_swatch(out, entry.swatch, x, y);
        let name = Font { size: LEGEND_SIZE, is_bold: false, anchor: Anchor::Start, colour: palette.muted };
        let text_x = x + SWATCH + 6.0;
        // One text element with two spans: the value follows the name in whatever font a viewer has.
        out.raw(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{LEGEND_SIZE}\" fill=\"{}\">{} <tspan fill=\"{}\" font-weight=\"700\">{}</tspan></text>",
            Num(text_x),
            Num(y + 4.2),
            name.colour,
            Escaped(&entry.name),
            palette.text,
            Escaped(&entry.value),
        ));
        x += entry.width();
    }
}

fn draw_swatch(out: &mut Canvas, swatch: Swatch, x: f64, y: f64) {
    match swatch {
        Swatch::Line { colour, dash } => {
            out.line((x, y), (x + SWATCH, y), Pen::new(colour, 2.2).with_dash(dash));
        }
        Swatch::Dots { colour } => {
            for place in [3.0, 9.0, 15.0] {
                out.raw(format_args!(
                    "<circle cx=\"{}\" cy=\"{}\" r=\"2\" fill=\"{colour}\"/>",
                    Num(x + place),
                    Num(y)
                ));
            }
        }
        Swatch::Band { colour } => {
            let mut path = String::new();
            rect_path(&mut path, x, y - 5.0, SWATCH, 10.0);
            out.fill(&path, colour, 0.18);
            out.line((x, y - 5.0), (x + SWATCH, y - 5.0), Pen::new(colour, 1.0));
            out.line((x, y + 5.0), (x + SWATCH, y + 5.0), Pen::new(colour, 1.0));
        }
    }
}
