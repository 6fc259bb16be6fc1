//! Times as people write them.

use std::time::Duration;

/// Reads `500ms`, `5s`, `10m`, `1h 30m`; at least a millisecond.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(1) => Ok(time),
        Ok(_) => Err(format!("`{text}` is too short; the least is 1ms")),
        Err(error) => Err(format!("`{text}` is no time: {error}; write it as in 500ms, 5s, 10m or 1h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [("500ms", 500), ("5s", 5_000), ("10m", 600_000), ("1h 30m", 5_400_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for wrong in ["", "5", "0s", "999us", "-5s", "soon"] {
            let told = time(wrong).unwrap_err();
            assert!(told.contains("500ms") || told.contains("1ms"), "{wrong}: {told}");
        }
    }
}
