#![allow(clippy::unwrap_used, clippy::panic)]

use chrono::{Days, NaiveDate, NaiveDateTime};
use resvg::{
    tiny_skia::Pixmap,
    usvg::roxmltree::{Document, Node},
};

use super::{
    BarPoint, Chart, Error, Overlay, Panel, Plot, PriceScale, Series, Size, Theme,
    axis::{Axis, nice_step},
    bucket::buckets,
    calendar::Unit,
    label,
    layout::{Area, Slots},
    line, png, svg, time_axis,
};

fn midnight(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(0, 0, 0).unwrap()
}

fn bar(ts: NaiveDateTime, price: f64) -> BarPoint {
    BarPoint { ts, open: price - 1.0, high: price + 2.0, low: price - 2.0, close: price, volume: 1000.0 }
}

/// `n` daily bars without weekends from 2 January 2023, a Monday, on a wave around 100.
fn bars(n: usize) -> Vec<BarPoint> {
    (0..n)
        .map(|idx| {
            let days = (idx / 5 * 7 + idx % 5) as u64;
            let ts = midnight(2023, 1, 2) + Days::new(days);
            bar(ts, 100.0 + 20.0 * (idx as f64 / 9.0).sin())
        })
        .collect()
}

fn chart(n: usize) -> Chart {
    let bars = bars(n);
    let closes: Vec<Option<f64>> = bars.iter().map(|bar| Some(bar.close)).collect();
    let moved = |by: f64| closes.iter().map(|it| it.map(|it| it + by)).collect::<Vec<_>>();
    let mut chart = Chart::new("ABC", "1d \u{b7} raw", bars);
    chart.overlays = vec![
        Overlay::Line(Series::new("sma_20", moved(1.0))),
        Overlay::Dots(Series::new("sar", moved(-4.0))),
        Overlay::Band {
            name: "bbands_20".to_owned(),
            upper: moved(5.0),
            middle: Some(closes.clone()),
            lower: moved(-5.0),
        },
    ];
    chart.panels = vec![
        Panel::new("rsi_14", vec![Plot::Line(Series::new("rsi", moved(-50.0)))])
            .with_range(0.0, 100.0)
            .with_guides(vec![30.0, 70.0]),
        Panel::new(
            "macd",
            vec![Plot::Histogram(Series::new("hist", moved(-100.0))), Plot::Line(Series::new("signal", moved(-101.0)))],
        ),
    ];
    chart
}

fn size() -> Size {
    Size::new(900, 700).unwrap()
}

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.descendants().filter(Node::is_text).filter_map(|it| it.text()).collect())
        .collect()
}

/// Draws both themes and a picture; fails on malformed XML and on coordinates that are no numbers.
#[track_caller]
fn check_draws(chart: &Chart) -> String {
    for theme in [Theme::Dark, Theme::Light] {
        let text = svg(chart, size(), theme);
        let document = Document::parse(&text).unwrap();
        assert!(document.descendants().filter(Node::is_element).count() > 5);
        for path in document.descendants().filter_map(|node| node.attribute("d")) {
            assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
        }
    }
    let picture = Pixmap::decode_png(&png(chart, size(), Theme::Light, 1).unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (900, 700));
    svg(chart, size(), Theme::Light)
}

#[test]
fn a_full_chart_names_everything() {
    let text = check_draws(&chart(200));
    let all = texts(&text).join("\n");
    for name in
        ["ABC", "1d \u{b7} raw", "sma_20", "sar", "bbands_20", "Volume", "rsi_14", "hist", "signal", "2023", "Mar"]
    {
        assert!(all.contains(name), "`{name}` is missing in {all}");
    }
    let document = Document::parse(&text).unwrap();
    let title = document.descendants().find(|it| it.has_tag_name("title")).unwrap();
    let description = document.descendants().find(|it| it.has_tag_name("desc")).unwrap();
    assert_eq!(title.text(), Some("ABC"));
    assert!(description.text().unwrap().contains("200 bars from 2023-01-02 to 2023-10-06"));
    assert_eq!(text, svg(&chart(200), size(), Theme::Light), "the same chart gives the same bytes");
}

#[test]
fn every_number_of_bars_draws() {
    for n in [0, 1, 2, 3, 30, 399, 401, 1000, 3000, 20_000] {
        check_draws(&chart(n));
    }
    let empty = svg(&chart(0), size(), Theme::Light);
    assert!(texts(&empty).contains(&"no bars in this range".to_owned()));
}

#[test]
fn every_size_draws() {
    for (width, height) in [(320, 240), (320, 8192), (8192, 240)] {
        let size = Size::new(width, height).unwrap();
        Document::parse(&svg(&chart(300), size, Theme::Light)).unwrap();
    }
    for (width, height) in [(0, 0), (319, 240), (320, 239), (8193, 240), (320, u32::MAX)] {
        assert!(matches!(Size::new(width, height), Err(Error::Size { .. })));
    }
    let mut many = chart(10);
    many.panels = vec![many.panels[0].clone(); 200];
    assert_eq!(Size::fitting(&many).height(), 8192);
    Document::parse(&svg(&many, Size::new(320, 240).unwrap(), Theme::Light)).unwrap();
}

#[test]
fn extreme_prices_draw() {
    let extremes = [
        0.0,
        -0.0,
        1.0,
        -5.0,
        1e-12,
        5e-324,
        1e15,
        -1e15,
        1e300,
        f64::MAX,
        f64::MIN,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    for first in extremes {
        for second in extremes {
            let mut chart = chart(20);
            for (idx, bar) in chart.bars.iter_mut().enumerate() {
                let price = if idx % 2 == 0 { first } else { second };
                (bar.open, bar.high, bar.low, bar.close, bar.volume) = (price, price, price, price, price);
            }
            for scale in [PriceScale::Linear, PriceScale::Log] {
                chart.price_scale = scale;
                let text = svg(&chart, size(), Theme::Light);
                Document::parse(&text).unwrap();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{first} {second}");
            }
        }
    }
}

#[test]
fn extreme_indicators_draw() {
    let mut chart = chart(4);
    let wild = vec![Some(f64::MAX), Some(f64::MIN), Some(f64::NAN), Some(f64::INFINITY), Some(1.0)];
    chart.overlays.push(Overlay::Line(Series::new("wild", wild.clone())));
    chart.overlays.push(Overlay::Band {
        name: "uneven".to_owned(),
        upper: wild.clone(),
        middle: Some(Vec::new()),
        lower: vec![Some(3.0)],
    });
    chart.panels.push(
        Panel::new("wild", vec![Plot::Histogram(Series::new("wild", wild))]).with_guides(vec![f64::NAN, f64::MAX]),
    );
    chart.panels.push(Panel::new("none", Vec::new()).with_range(5.0, f64::NAN));
    chart.panels.push(Panel::new("reversed", Vec::new()).with_range(5.0, -5.0));
    check_draws(&chart);
}

#[test]
fn text_is_escaped() {
    let mut chart = chart(3);
    chart.title = "<a href=\"x\">&'\u{0}\n]]>".to_owned();
    chart.panels[0].title = "</text><script>".to_owned();
    let text = check_draws(&chart);
    assert!(!text.contains("<script"));
    assert!(texts(&text).contains(&"<a href=\"x\">&'\u{fffd} ]]>".to_owned()));
}

#[test]
fn summed_up_bars_are_said_so() {
    assert!(!svg(&chart(250), size(), Theme::Light).contains("one candle per"));
    assert!(svg(&chart(1000), size(), Theme::Light).contains("one candle per week"));
    let narrow = Size::new(320, 240).unwrap();
    let mut chart = chart(1000);
    chart.subtitle = "a subtitle that is much too long for so narrow a picture".to_owned();
    chart.price_scale = PriceScale::Log;
    chart.bars[7].low = -1.0;
    let all = texts(&svg(&chart, narrow, Theme::Light));
    assert!(all.contains(&"one candle per month".to_owned()), "{all:?}");
    assert!(all.contains(&"linear scale, as not all prices are positive".to_owned()), "{all:?}");
}

#[test]
fn a_bucket_is_the_wider_bar() {
    let bars = bars(1000);
    let weeks = buckets(&bars, 800.0);
    assert_eq!(weeks.each.as_deref(), Some("week"));
    assert_eq!(weeks.candles.len(), 200);
    let first = &weeks.candles[0];
    assert_eq!((first.first, first.last), (0, 4));
    assert_eq!(first.open, bars[0].open);
    assert_eq!(first.close, bars[4].close);
    assert_eq!(first.high, bars[..5].iter().map(|it| it.high).fold(f64::MIN, f64::max));
    assert_eq!(first.low, bars[..5].iter().map(|it| it.low).fold(f64::MAX, f64::min));
    assert_eq!(first.volume, 5000.0);
    assert_eq!(buckets(&bars, 2000.0).each, None);
}

#[test]
fn bars_of_one_time_are_summed_up_by_number() {
    let same = vec![bar(midnight(2024, 1, 1), 5.0); 1000];
    let buckets = buckets(&same, 350.0);
    assert_eq!(buckets.each.as_deref(), Some("10 bars"));
    assert_eq!(buckets.candles.len(), 100);
}

#[test]
fn gaps_break_lines() {
    let area = Area { left: 0.0, right: 60.0, top: 0.0, bottom: 10.0 };
    let slots = Slots::new(&area, 6);
    let axis = Axis::new((0.0, 10.0), (0.0, 10.0));
    let values = [Some(0.0), Some(10.0), None, Some(5.0), None, Some(f64::NAN)];
    assert_eq!(line::line(&values, &axis, &slots), "M5 10L15 0M31.5 5h7");
}

#[test]
fn thinned_lines_keep_extremes() {
    let area = Area { left: 0.0, right: 10.0, top: 0.0, bottom: 100.0 };
    let slots = Slots::new(&area, 10_000);
    let axis = Axis::new((0.0, 100.0), (0.0, 100.0));
    let mut values = vec![Some(50.0); 10_000];
    values[4321] = Some(100.0);
    values[4400] = Some(0.0);
    let path = line::line(&values, &axis, &slots);
    assert!(path.contains(" 0L") && path.contains(" 100L"), "{path}");
    assert!(path.matches('L').count() < 40);
}

#[track_caller]
fn check_ticks(low: f64, high: f64, gap: f64, expected: &[&str]) {
    let ticks = Axis::new((low, high), (0.0, 100.0)).ticks(gap);
    let labels: Vec<String> = ticks.values.iter().map(|value| ticks.label(*value)).collect();
    assert_eq!(labels, expected);
}

#[test]
fn linear_ticks_are_round() {
    check_ticks(0.0, 100.0, 25.0, &["0", "25", "50", "75", "100"]);
    check_ticks(97.3, 103.9, 25.0, &["98", "100", "102"]);
    check_ticks(0.011, 0.019, 25.0, &["0.012", "0.014", "0.016", "0.018"]);
    check_ticks(-3.0, 3.0, 30.0, &["\u{2212}2", "0", "2"]);
    check_ticks(0.0, 5_300_000.0, 30.0, &["0", "2M", "4M"]);
    check_ticks(1200.0, 1210.0, 50.0, &["1,200", "1,205", "1,210"]);
    for (raw, step) in
        [(1.0, 1.0), (1.1, 2.0), (2.2, 2.5), (3.0, 5.0), (7.0, 10.0), (0.03, 0.05), (f64::NAN, 1.0), (0.0, 1.0)]
    {
        assert!((nice_step(raw) - step).abs() < 1e-12, "{raw}");
    }
}

#[test]
fn log_ticks_are_round_and_apart() {
    let axis = Axis::log((1.3, 950.0), (0.0, 400.0));
    let ticks = axis.ticks(30.0);
    let labels: Vec<String> = ticks.values.iter().map(|value| ticks.label(*value)).collect();
    assert_eq!(labels, ["2", "5", "10", "20", "50", "100", "200", "500"]);
    let narrow = Axis::log((100.0, 130.0), (0.0, 400.0)).ticks(30.0);
    assert!(narrow.values.len() >= 4, "{narrow:?}");
    let heights: Vec<f64> = [10.0, 100.0].iter().map(|value| axis.y(*value)).collect();
    assert!((heights[0] - heights[1] - (axis.y(2.0) - axis.y(20.0))).abs() < 1e-9);
}

#[test]
fn time_ticks_never_overlap() {
    for n in [1, 2, 20, 60, 250, 700, 5000] {
        let bars = bars(n);
        let area = Area { left: 0.0, right: 800.0, top: 0.0, bottom: 10.0 };
        let slots = Slots::new(&area, n);
        let ticks = time_axis::ticks(&bars, &slots, 800.0);
        assert!((1..=20).contains(&ticks.len()), "{n} bars: {ticks:?}");
        for pair in ticks.windows(2) {
            let room = slots.centre(pair[1].idx) - slots.centre(pair[0].idx);
            let needed = (label::width(&pair[0].label, 11.5) + label::width(&pair[1].label, 11.5)) / 2.0;
            assert!(room > needed + 3.0, "{n} bars: {pair:?}");
        }
    }
}

#[test]
fn time_ticks_name_month_and_year() {
    let area = Area { left: 0.0, right: 1000.0, top: 0.0, bottom: 10.0 };
    let bars = bars(300);
    let ticks = time_axis::ticks(&bars, &Slots::new(&area, 300), 1000.0);
    let january = ticks.iter().find(|tick| tick.label == "Jan").unwrap();
    assert_eq!(january.context.as_deref(), Some("2024"));
    assert_eq!(bars[january.idx].ts, midnight(2024, 1, 1));
}

#[test]
fn units_begin_at_round_times() {
    let monday = midnight(2024, 1, 1);
    for (unit, before, after) in [
        (Unit::Week, midnight(2023, 12, 31), monday),
        (Unit::Months(3), midnight(2024, 3, 31), midnight(2024, 4, 1)),
        (Unit::Years(10), midnight(2019, 12, 31), midnight(2020, 1, 1)),
        (Unit::Minutes(60), monday + chrono::TimeDelta::minutes(59), monday + chrono::TimeDelta::minutes(60)),
    ] {
        assert_eq!(unit.key(before) + 1, unit.key(after), "{unit:?}");
    }
}

#[test]
fn numbers_read_well() {
    for (number, text) in [
        (0.0, "0.00"),
        (430.47, "430.47"),
        (-1234.5, "\u{2212}1,234.50"),
        (0.01234, "0.01234"),
        (1_234_567.8, "1,234,568"),
        (2.5e9, "2.5B"),
        (1e-9, "1.00e\u{2212}9"),
        (-0.5, "\u{2212}0.5000"),
    ] {
        assert_eq!(label::value(number), text);
    }
    for (number, text) in [(0.0, "0"), (999.7, "1K"), (12_345.0, "12.3K"), (20e6, "20M"), (3e20, "3.00e20")] {
        assert_eq!(label::compact(number), text);
    }
}

#[test]
fn png_has_text_without_any_installed_font() {
    let with_title = chart(1);
    let mut without_title = with_title.clone();
    without_title.title = String::new();
    let draw = |chart: &Chart| Pixmap::decode_png(&png(chart, size(), Theme::Light, 1).unwrap()).unwrap();
    let inked = |picture: &Pixmap| picture.pixels().iter().filter(|pixel| pixel.red() < 100).count();
    assert!(inked(&draw(&with_title)) > inked(&draw(&without_title)) + 100);
}

#[test]
fn png_grows_with_the_pixel_ratio() {
    let picture = Pixmap::decode_png(&png(&chart(50), size(), Theme::Dark, 2).unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (1800, 1400));
    for ratio in [0, 5, u32::MAX] {
        let err = png(&chart(1), size(), Theme::Light, ratio).unwrap_err();
        assert_eq!(err.to_string(), format!("invalid pixel ratio for chart: `{ratio}` is not in 1..=4"));
    }
}
