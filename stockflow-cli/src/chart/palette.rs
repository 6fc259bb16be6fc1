//! Colours that stay apart for readers with any kind of colour vision.
//!
//! Rising and falling bars are blue and orange, and rising candles are hollow where there is room,
//! so that direction never hangs on hue alone.

use super::Theme;

/// All colours of one theme, as `#rrggbb`.
#[derive(Debug)]
pub(super) struct Palette {
    pub(super) background: &'static str,
    pub(super) grid: &'static str,
    pub(super) border: &'static str,
    pub(super) text: &'static str,
    pub(super) muted: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    /// Text on a tag filled with `up` or `down`.
    pub(super) on_tag: &'static str,
    pub(super) band: &'static str,
    pub(super) guide: &'static str,
    lines: [&'static str; 6],
}

impl Palette {
    pub(super) fn of(theme: Theme) -> &'static Self {
        match theme {
            Theme::Light => &LIGHT,
            Theme::Dark => &DARK,
        }
    }

    /// Colour of the `idx`-th line.
    pub(super) fn line(&self, idx: usize) -> &'static str {
        self.lines[idx % self.lines.len()]
    }

    /// Dashes of the `idx`-th line, once the colours begin again.
    pub(super) fn dash(&self, idx: usize) -> &'static str {
        match (idx / self.lines.len()) % 3 {
            0 => "",
            1 => "6 3",
            _ => "2 3",
        }
    }

    /// Colour of a rise or a fall.
    pub(super) fn direction(&self, is_up: bool) -> &'static str {
        if is_up { self.up } else { self.down }
    }
}

static LIGHT: Palette = Palette {
    background: "#ffffff",
    grid: "#eceff3",
    border: "#cfd6de",
    text: "#17202b",
    muted: "#5d6a79",
    up: "#1f6fb2",
    down: "#d2570f",
    on_tag: "#ffffff",
    band: "#64748b",
    guide: "#8a97a6",
    lines: ["#d99a00", "#00866a", "#8a3fc0", "#334155", "#b8326e", "#2f9fd0"],
};

static DARK: Palette = Palette {
    background: "#10151c",
    grid: "#1f2732",
    border: "#364252",
    text: "#e3e8ef",
    muted: "#94a1b2",
    up: "#4da3e8",
    down: "#f28a3c",
    on_tag: "#0b0f14",
    band: "#94a3b8",
    guide: "#6b7889",
    lines: ["#f2c14e", "#34c79f", "#bf8bf0", "#cbd5e1", "#f07bab", "#7fd4ff"],
};
