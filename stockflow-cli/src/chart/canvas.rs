//! Writes SVG elements.

use std::fmt::{self, Display, Write as _};

/// Fonts to try in turn: what systems and browsers have for user interfaces. PNG pictures bring their own.
pub(super) const FONT_STACK: &str = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

/// A growing SVG document.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    out: String,
}

/// Where the text's own position is in relation to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) is_bold: bool,
    pub(super) anchor: Anchor,
    pub(super) colour: &'static str,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub(super) colour: &'static str,
    pub(super) width: f64,
    pub(super) dash: &'static str,
    pub(super) opacity: f64,
}

impl Pen {
    pub(super) fn new(colour: &'static str, width: f64) -> Self {
        Self { colour, width, dash: "", opacity: 1.0 }
    }

    pub(super) fn with_dash(self, dash: &'static str) -> Self {
        Self { dash, ..self }
    }

    pub(super) fn with_opacity(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }
}

impl Canvas {
    /// Writes markup as it is.
    pub(super) fn raw(&mut self, markup: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(markup);
        self.out.push('\n');
    }

    pub(super) fn text(&mut self, x: f64, y: f64, text: &str, font: Font) {
        let anchor = match font.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if font.is_bold { " font-weight=\"700\"" } else { "" };
        self.raw(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"{anchor}{weight}>{}</text>",
            Num(x),
            Num(y),
            Num(font.size),
            font.colour,
            Escaped(text),
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), pen: Pen) {
        let path = format!("M{} {}L{} {}", Num(x1), Num(y1), Num(x2), Num(y2));
        self.stroke(&path, pen);
    }

    /// Strokes a path; an empty one leaves no element.
    pub(super) fn stroke(&mut self, path: &str, pen: Pen) {
        if path.is_empty() {
            return;
        }
        let dash = if pen.dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{}\"", pen.dash) };
        let opacity =
            if pen.opacity < 1.0 { format!(" stroke-opacity=\"{}\"", Num(pen.opacity)) } else { String::new() };
        self.raw(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}{opacity}/>",
            pen.colour,
            Num(pen.width),
        ));
    }

    /// Fills a path; an empty one leaves no element.
    pub(super) fn fill(&mut self, path: &str, colour: &str, opacity: f64) {
        if !path.is_empty() {
            self.raw(format_args!("<path d=\"{path}\" fill=\"{colour}\" fill-opacity=\"{}\"/>", Num(opacity)));
        }
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.raw(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>",
            Num(x),
            Num(y),
            Num(width.max(0.0)),
            Num(height.max(0.0)),
        ));
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

/// A rectangle as a piece of path data.
pub(super) fn rect_path(out: &mut String, x: f64, y: f64, width: f64, height: f64) {
    let _ = write!(out, "M{} {}h{}v{}h{}z", Num(x), Num(y), Num(width), Num(height), Num(-width));
}

/// A straight line as a piece of path data.
pub(super) fn line_path(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = write!(out, "M{} {}L{} {}", Num(x1), Num(y1), Num(x2), Num(y2));
}

/// A coordinate with at most two decimals and no needless zeros; anything that is not finite is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Num(pub(super) f64);

impl Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 100.0).round() / 100.0;
        if rounded == 0.0 || !rounded.is_finite() {
            // Also for -0.0, which would print its sign.
            f.write_str("0")
        } else {
            write!(f, "{rounded}")
        }
    }
}

/// Text with XML's special characters escaped and the characters that XML 1.0 forbids replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' | '\r' => f.write_char(' ')?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
