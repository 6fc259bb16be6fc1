//! A moment as it is written in a pipeline file.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// `2024-06-28` (its beginning in UTC) or `2024-06-28T20:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) DateTime<Utc>);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self(date.and_time(NaiveTime::MIN).and_utc()));
        }
        text.parse()
            .map(Self)
            .map_err(|_| "is no date such as 2024-06-28 and no time such as 2024-06-28T20:00:00Z".to_owned())
    }
}
