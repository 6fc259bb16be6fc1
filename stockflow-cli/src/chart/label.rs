//! Numbers as readers of prices expect them, and how wide a text will be.

/// A price or an indicator's value: two decimals from 1 upwards, four significant digits below.
pub(super) fn value(value: f64) -> String {
    let size = value.abs();
    if size >= 1e9 {
        return compact(value);
    }
    if size == 0.0 {
        return "0.00".to_owned();
    }
    if size < 1e-6 {
        return minus(format!("{value:.2e}"));
    }
    let decimals = if size >= 1e6 {
        0
    } else if size >= 1.0 {
        2
    } else {
        // 0.0123 has its first digit at the second place and so needs five for four digits.
        (3 + places_before_first_digit(size)).min(9)
    };
    grouped(value, decimals)
}

/// An amount with a suffix: `950`, `12.5K`, `3.02M`, `1.2B`, `4T`.
pub(super) fn compact(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 {
        return minus(format!("{value:.2e}"));
    }
    let (unit, suffix) = match size {
        _ if size >= 999.5e9 => (1e12, "T"),
        _ if size >= 999.5e6 => (1e9, "B"),
        _ if size >= 999.5e3 => (1e6, "M"),
        _ if size >= 999.5 => (1e3, "K"),
        _ => (1.0, ""),
    };
    let scaled = value / unit;
    let decimals = match scaled.abs() {
        it if it >= 100.0 || unit == 1.0 && it >= 10.0 => 0,
        it if it >= 10.0 => 1,
        _ => 2,
    };
    let mut text = format!("{scaled:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    minus(text + suffix)
}

/// A tick's value with the decimals that its step needs.
pub(super) fn tick(value: f64, step: f64) -> String {
    let step = if step > 0.0 { step } else { 1.0 };
    let largest = value.abs().max(step);
    if largest >= 1e9 || step >= 1e6 {
        return compact(value);
    }
    if value == 0.0 && step >= 1.0 {
        return "0".to_owned();
    }
    if step < 1e-9 {
        return minus(format!("{value:.2e}"));
    }
    let mut decimals = 0;
    let mut scaled = step;
    // A step of 2.5 needs one decimal, 0.25 two; ten are enough for any price.
    while decimals < 10 && (scaled - scaled.round()).abs() > 1e-6 * scaled {
        scaled *= 10.0;
        decimals += 1;
    }
    grouped(value, decimals)
}

/// A signed change: `+1.20`, `−0.35`.
pub(super) fn change(change: f64) -> String {
    let text = value(change);
    if change > 0.0 { format!("+{text}") } else { text }
}

/// A signed percentage with two decimals, without its sign of percent.
pub(super) fn percent(percent: f64) -> String {
    if percent.abs() >= 1e6 {
        return change(percent);
    }
    let text = grouped(percent, 2);
    if percent > 0.0 { format!("+{text}") } else { text }
}

fn places_before_first_digit(size: f64) -> usize {
    let mut places = 0;
    let mut scaled = size;
    while scaled < 1.0 && places < 9 {
        scaled *= 10.0;
        places += 1;
    }
    places
}

/// Thousands apart by commas, with a true minus sign.
fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut out = String::with_capacity(plain.len() + 4);
    if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('\u{2212}');
    }
    for (idx, digit) in whole.chars().enumerate() {
        if idx > 0 && (whole.len() - idx) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

fn minus(text: String) -> String {
    text.replace('-', "\u{2212}")
}

/// Width of a text in pixels, a little on the safe side because a viewer may take another font.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(em).sum::<f64>() * size * 1.05
}

/// Advance of a character as a part of the font size, for fonts in the manner of Roboto or DejaVu Sans Condensed.
fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | 'I' => 0.27,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '/' | '\u{b7}' => 0.36,
        'm' | 'M' | 'W' | '@' => 0.88,
        'w' | '%' | '\u{2026}' => 0.75,
        'A'..='Z' | '&' => 0.65,
        '\0'..='\u{7f}' => 0.575,
        // Latin with accents, Greek, Cyrillic; everything beyond may be as wide as it is high.
        '\u{80}'..='\u{52f}' | '\u{2010}'..='\u{2027}' | '\u{2212}' => 0.66,
        _ => 1.0,
    }
}

/// The text, or as much of it as fits with an ellipsis.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut used = width("\u{2026}", size);
    let mut out = String::new();
    for c in text.chars() {
        used += em(c) * size * 1.05;
        if used > room {
            break;
        }
        out.push(c);
    }
    let kept = out.trim_end().len();
    out.truncate(kept);
    out.push('\u{2026}');
    out
}
