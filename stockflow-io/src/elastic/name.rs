//! Names of indices, aliases and documents.

use chrono::{DateTime, Datelike};
use sha2::{Digest, Sha256};
use stockflow_core::{Error, Result};

/// An id may have so many bytes.
const LONGEST_ID: usize = 512;

/// An index's name may have 255 bytes; ours get an ending.
const LONGEST: usize = 230;

/// Refuses what the server would refuse for a name.
///
/// # Errors
///
/// [`Error::InvalidParameter`] with the reason.
pub(super) fn check(parameter: &str, name: &str) -> Result<()> {
    let wrong = |reason: String| Err(Error::parameter("elasticsearch", parameter, reason));
    if name.is_empty() || name.len() > LONGEST {
        return wrong(format!("a name has 1 to {LONGEST} bytes"));
    }
    if name.starts_with(['-', '_', '+', '.']) {
        return wrong(format!("`{name}` begins with `-`, `_`, `+` or a point, which the server keeps for itself"));
    }
    let is_bad = |c: char| c.is_uppercase() || c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:%".contains(c);
    match name.chars().find(|c| is_bad(*c)) {
        Some(bad) => wrong(format!("`{name}` has `{bad}`; write lower case letters, digits, `-`, `_` and points")),
        None => Ok(()),
    }
}

/// The name for rows of a month, of a day since 1970-01-01: `bars_y2024m01`.
pub(super) fn of_month(name: &str, month: i32) -> String {
    format!("{name}_y{:04}m{:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
}

/// Months since January of the year 0, of a point in time in seconds since 1970.
pub(super) fn month_of(seconds: i64) -> i32 {
    // Times beyond what chrono counts are refused by the server.
    let time = DateTime::from_timestamp(seconds, 0);
    time.map_or(0, |time| time.year() * 12 + i32::try_from(time.month0()).unwrap_or_default())
}

/// A document's id of its key's texts: joined by `|`, so that different keys have different ids. What is too long becomes its hash.
#[derive(Debug, Default)]
pub(super) struct DocumentId(String);

impl DocumentId {
    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a column's text.
    pub(super) fn push(&mut self, is_first: bool, text: &str) {
        if !is_first {
            self.0.push('|');
        }
        for c in text.chars() {
            if matches!(c, '|' | '\\') {
                self.0.push('\\');
            }
            self.0.push(c);
        }
    }

    /// The id.
    pub(super) fn finish(&mut self) -> &str {
        if self.0.len() > LONGEST_ID {
            let hash = Sha256::digest(self.0.as_bytes());
            let hash = hash.iter().fold(String::with_capacity(64), |text, byte| format!("{text}{byte:02x}"));
            self.0 = format!("sha256:{hash}");
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(texts: &[&str]) -> String {
        let mut id = DocumentId::default();
        texts.iter().enumerate().for_each(|(idx, text)| id.push(idx == 0, text));
        id.finish().to_owned()
    }

    #[test]
    fn different_keys_have_different_ids() {
        assert_eq!(id(&["AAPL", "1d", "2024-01-02T00:00:00Z"]), "AAPL|1d|2024-01-02T00:00:00Z");
        assert_eq!(id(&["a|b", "c"]), "a\\|b|c");
        assert_ne!(id(&["a|b", "c"]), id(&["a", "b|c"]));
        assert_ne!(id(&["a\\", "b"]), id(&["a\\|b"]));
        let long = "x".repeat(600);
        assert_eq!(id(&[&long]).len(), 71);
        assert_ne!(id(&[&long]), id(&[&long, ""]));
    }

    #[test]
    fn months_have_their_names() {
        for (seconds, name) in [(0, "b_y1970m01"), (-1, "b_y1969m12"), (1_706_745_600, "b_y2024m02")] {
            assert_eq!(of_month("b", month_of(seconds)), name);
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(check("index", "bars-2.x_y").is_ok());
        for bad in ["", "Bars", "-a", "_a", ".a", "a b", "a/b", "a*", "a,b", "a:b"] {
            assert!(check("index", bad).is_err(), "{bad}");
        }
    }
}
