//! Puts the parts of a chart together as an SVG document.

use super::{
    axis::{Axis, Ticks},
    bucket::{Buckets, buckets},
    canvas::{Anchor, Canvas, Escaped, FONT_STACK, Font, Num, Pen},
    header::{self, Header},
    label,
    layout::{Area, Layout, MARGIN, Slots},
    model::{BarPoint, Chart, Size, Theme},
    palette::Palette,
    price, study, time_axis, volume,
};

const AXIS_SIZE: f64 = 11.5;

/// The chart as a self-contained SVG document of the given size.
///
/// The same chart gives the same bytes. Any values are drawn as well as they can be; none make it fail.
pub(crate) fn svg(chart: &Chart, size: Size, theme: Theme) -> String {
    let palette = Palette::of(theme);
    let (width, height) = (f64::from(size.width()), f64::from(size.height()));
    // The plot is about this wide; its labels, whose width is not known yet, must not decide what a candle stands for.
    let buckets = buckets(&chart.bars, width - MARGIN - 64.0);
    let notes = header::notes(chart, &buckets, price::is_log(chart, &buckets));
    let header = Header::new(chart, &notes, palette, width);
    let plot = Plotted::new(chart, &buckets, size, header.height());
    let id = document_id(chart, size);

    let mut out = Canvas::default();
    out.raw(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" font-family=\"{FONT_STACK}\">"
    ));
    out.raw(format_args!("<title id=\"{id}-title\">{}</title>", Escaped(&chart.title)));
    out.raw(format_args!("<desc id=\"{id}-desc\">{}</desc>", Escaped(&description(chart, &notes))));
    out.rect(0.0, 0.0, width, height, palette.background);
    header.draw(&mut out, chart, palette, width);
    plot.draw(&mut out, chart, &id, palette);
    out.raw(format_args!("</svg>"));
    out.into_string()
}

/// Everything below the header, measured.
struct Plotted<'a> {
    layout: Layout,
    slots: Slots,
    buckets: &'a Buckets,
    price: Axis,
    price_ticks: Ticks,
}

impl<'a> Plotted<'a> {
    /// Measured twice: the labels' width follows from the ticks, and the ticks from the height.
    fn new(chart: &Chart, buckets: &'a Buckets, size: Size, header: f64) -> Self {
        let draft = Self::with_labels(chart, buckets, size, header, 64.0);
        let widest = draft.all_labels(chart).iter().map(|text| label::width(text, AXIS_SIZE) * 1.1).fold(0.0, f64::max);
        let labels = (widest + 22.0).clamp(56.0, f64::from(size.width()) * 0.4);
        Self::with_labels(chart, buckets, size, header, labels)
    }

    fn with_labels(chart: &Chart, buckets: &'a Buckets, size: Size, header: f64, labels: f64) -> Self {
        let layout = Layout::new(chart, size, header, labels);
        let price = price::axis(chart, buckets, &layout.price);
        let gap = (layout.price.height() / 8.0).clamp(26.0, 44.0);
        Self {
            slots: Slots::new(&layout.price, chart.bars.len()),
            price_ticks: if buckets.candles.is_empty() { Ticks::none() } else { price.ticks(gap) },
            layout,
            buckets,
            price,
        }
    }

    fn all_labels(&self, chart: &Chart) -> Vec<String> {
        let ticks = &self.price_ticks;
        let mut out: Vec<String> = ticks.values.iter().map(|value| ticks.label(*value)).collect();
        out.extend(last_bar(chart).map(|bar| label::value(bar.close)));
        for (panel, area) in chart.panels.iter().zip(&self.layout.studies) {
            let ticks = study::ticks(panel, &study::axis(panel, chart.bars.len(), area));
            out.extend(ticks.values.iter().map(|value| ticks.label(*value)));
        }
        out
    }

    fn draw(&self, out: &mut Canvas, chart: &Chart, id: &str, palette: &Palette) {
        let n_bars = chart.bars.len();
        let time_ticks = time_axis::ticks(&chart.bars, &self.slots, self.layout.price.width());
        time_axis::draw_grid(out, &time_ticks, &self.slots, &self.layout, palette);
        self.draw_price(out, chart, id, palette);
        if let Some(area) = &self.layout.volume {
            let axis = volume::axis(self.buckets, area);
            let ticks = axis.ticks(24.0);
            draw_axis(out, &axis, &ticks, area, None, palette, label::compact);
            volume::draw(out, self.buckets, &axis, &self.slots, palette);
            self.draw_volume_title(out, area, palette);
            draw_border(out, area, palette);
        }
        for (idx, (panel, area)) in chart.panels.iter().zip(&self.layout.studies).enumerate() {
            let axis = study::axis(panel, n_bars, area);
            let ticks = study::ticks(panel, &axis);
            draw_axis(out, &axis, &ticks, area, None, palette, |value| ticks.label(value));
            clipped(out, &format!("{id}-study-{idx}"), area, |out| {
                study::draw(out, panel, &axis, area, &self.slots, palette);
            });
            if area.has_room() {
                study::draw_title(out, panel, n_bars, area, palette);
            }
            draw_border(out, area, palette);
        }
        time_axis::draw_labels(out, &time_ticks, &self.slots, &self.layout, palette);
    }

    fn draw_price(&self, out: &mut Canvas, chart: &Chart, id: &str, palette: &Palette) {
        let area = &self.layout.price;
        let last = last_bar(chart);
        let tag = last.map(|bar| self.price.y(bar.close));
        let ticks = &self.price_ticks;
        draw_axis(out, &self.price, ticks, area, tag, palette, |value| ticks.label(value));
        clipped(out, &format!("{id}-price"), area, |out| {
            price::draw(out, chart, self.buckets, &self.price, &self.slots, palette);
        });
        draw_border(out, area, palette);
        match last {
            Some(bar) => {
                let is_up = bar.close >= bar.open;
                let y = self.price.y(bar.close);
                price::draw_last_tag(out, y, &label::value(bar.close), is_up, area, palette);
            }
            None => draw_nothing(out, area, palette),
        }
    }

    fn draw_volume_title(&self, out: &mut Canvas, area: &Area, palette: &Palette) {
        let name = match &self.buckets.each {
            Some(each) => format!("Volume per {each}"),
            None => "Volume".to_owned(),
        };
        let value = self.buckets.candles.last().map_or("\u{2013}".to_owned(), |candle| label::compact(candle.volume));
        if area.has_room() {
            out.raw(format_args!(
                "<text x=\"{}\" y=\"{}\" font-size=\"12\" font-weight=\"700\" fill=\"{}\">{}<tspan dx=\"10\" font-weight=\"400\" fill=\"{}\">{}</tspan></text>",
                Num(area.left),
                Num(area.top - 6.0),
                palette.text,
                Escaped(&name),
                palette.muted,
                Escaped(&value),
            ));
        }
    }
}

fn last_bar(chart: &Chart) -> Option<&BarPoint> {
    chart.bars.iter().rev().find(|bar| bar.is_drawable())
}

/// Horizontal grid lines with their labels right of the panel; none beneath the tag at `taken`.
fn draw_axis(
    out: &mut Canvas,
    axis: &Axis,
    ticks: &Ticks,
    area: &Area,
    taken: Option<f64>,
    palette: &Palette,
    text: impl Fn(f64) -> String,
) {
    let font = Font { size: AXIS_SIZE, is_bold: false, anchor: Anchor::Start, colour: palette.muted };
    let mut labels: Vec<f64> = taken.into_iter().collect();
    for value in &ticks.values {
        let y = axis.y(*value);
        if !(area.top - 0.5..=area.bottom + 0.5).contains(&y) {
            continue;
        }
        let line = y.round() + 0.5;
        out.line((area.left, line), (area.right, line), Pen::new(palette.grid, 1.0));
        // Neither beneath another label nor half outside the panel.
        let is_free = labels.iter().all(|other| (other - y).abs() >= 15.0);
        if is_free {
            labels.push(y);
            let y = y.clamp(area.top + 3.0, (area.bottom - 2.0).max(area.top + 3.0));
            out.text(area.right + 7.0, y + 4.0, &text(*value), font);
        }
    }
}

fn draw_border(out: &mut Canvas, area: &Area, palette: &Palette) {
    let pen = Pen::new(palette.border, 1.0);
    let (right, bottom) = (area.right.round() + 0.5, area.bottom.round() + 0.5);
    out.line((area.left, bottom), (right, bottom), pen);
    out.line((right, area.top), (right, bottom), pen);
}

fn draw_nothing(out: &mut Canvas, area: &Area, palette: &Palette) {
    let font = Font { size: 14.0, is_bold: false, anchor: Anchor::Middle, colour: palette.muted };
    let (x, y) = ((area.left + area.right) / 2.0, (area.top + area.bottom) / 2.0);
    out.text(x, y, "no bars in this range", font);
}

/// Draws with everything outside the panel cut off.
fn clipped(out: &mut Canvas, id: &str, area: &Area, draw: impl FnOnce(&mut Canvas)) {
    out.raw(format_args!(
        "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>",
        Num(area.left),
        Num(area.top),
        Num(area.width()),
        Num(area.height().max(1.0)),
    ));
    out.raw(format_args!("<g clip-path=\"url(#{id})\">"));
    draw(out);
    out.raw(format_args!("</g>"));
}

/// The picture in words, for those who do not see it.
fn description(chart: &Chart, notes: &[String]) -> String {
    let mut out = format!(
        "Price chart. {}. {} bars",
        std::iter::once(&chart.subtitle).chain(notes).cloned().collect::<Vec<_>>().join(", "),
        chart.bars.len(),
    );
    let bars = || chart.bars.iter().filter(|bar| bar.is_drawable());
    if let (Some(first), Some(last)) = (bars().next(), bars().next_back()) {
        out.push_str(&format!(
            " from {} to {}. First close {}, last close {}",
            first.ts.date(),
            last.ts.date(),
            label::value(first.close),
            label::value(last.close),
        ));
        let highest = bars().max_by(|a, b| a.high.total_cmp(&b.high));
        let lowest = bars().min_by(|a, b| a.low.total_cmp(&b.low));
        if let (Some(highest), Some(lowest)) = (highest, lowest) {
            out.push_str(&format!(
                ", highest {} on {}, lowest {} on {}",
                label::value(highest.high),
                highest.ts.date(),
                label::value(lowest.low),
                lowest.ts.date(),
            ));
        }
    }
    let panels: Vec<&str> = chart.panels.iter().map(|panel| panel.title.as_str()).collect();
    if !panels.is_empty() {
        out.push_str(&format!(". Panels: {}", panels.join(", ")));
    }
    out + "."
}

/// Prefix of the ids, so that several charts can stand in one page: FNV-1a of what tells them apart.
fn document_id(chart: &Chart, size: Size) -> String {
    let text = format!("{}\n{}\n{size:?}\n{}", chart.title, chart.subtitle, chart.bars.len());
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("chart-{:08x}", hash >> 32)
}
