//! Which session a moment belongs to: before, in or after the regular one.

use chrono::{DateTime, NaiveTime, Utc};
use serde_json::Value;

use super::facts::Period;
use crate::yahoo::decode::json::at;
use crate::yahoo::decode::time::Zone;

const NAMES: [&str; 3] = ["pre", "regular", "post"];

/// The sessions of a reply.
///
/// `tradingPeriods` lists those of the asked days, either as lists of regular ones or as an object of lists for `pre`, `regular`
/// and `post`. Without it the hours of `currentTradingPeriod` serve for every day.
#[derive(Debug)]
pub(super) struct Sessions {
    /// By start.
    listed: Vec<(Period, &'static str)>,
    /// Of the running or next day.
    current: Vec<(Period, &'static str)>,
    zone: Zone,
}

impl Sessions {
    pub(super) fn of(meta: &Value, zone: Zone) -> Self {
        let mut listed = Vec::new();
        match meta.get("tradingPeriods") {
            Some(Value::Object(by_name)) => {
                for name in NAMES {
                    collect(by_name.get(name), name, 3, &mut listed);
                }
            }
            other => collect(other, "regular", 3, &mut listed),
        }
        listed.sort_by_key(|(period, _)| period.start);
        let current = |name| Some((Period::of(at(meta, &["currentTradingPeriod", name]))?, name));
        Self { listed, current: NAMES.into_iter().filter_map(current).collect(), zone }
    }

    /// The session's name; `None` if the reply does not tell.
    pub(super) fn name(&self, at: DateTime<Utc>) -> Option<&'static str> {
        if self.listed.is_empty() {
            return self.by_hours(at);
        }
        if let Some((_, name)) = self.listed_at(at) {
            return Some(name);
        }
        // Outside of what is listed: the regular session of the same day tells before from after.
        let next_idx = self.listed.partition_point(|(period, _)| period.start <= at);
        let date = self.zone.date(at);
        let is_today = |entry: &&(Period, &str)| entry.1 == "regular" && self.zone.date(entry.0.start) == date;
        if next_idx.checked_sub(1).and_then(|idx| self.listed.get(idx)).filter(is_today).is_some() {
            Some("post")
        } else if self.listed.get(next_idx).filter(is_today).is_some() {
            Some("pre")
        } else {
            None
        }
    }

    /// The listed session that a moment lies in.
    pub(super) fn listed_at(&self, at: DateTime<Utc>) -> Option<(Period, &'static str)> {
        let next_idx = self.listed.partition_point(|(period, _)| period.start <= at);
        let entry = self.listed.get(next_idx.checked_sub(1)?)?;
        entry.0.contains(at).then_some(*entry)
    }

    /// Whether sessions are listed at all.
    pub(super) fn are_listed(&self) -> bool {
        !self.listed.is_empty()
    }

    fn by_hours(&self, at: DateTime<Utc>) -> Option<&'static str> {
        let time = self.zone.local(at).time();
        let regular = self.current.iter().find(|(_, name)| *name == "regular")?;
        if regular.0.is_all_day() {
            return Some("regular");
        }
        let is_now = |(period, _): &&(Period, &str)| {
            let hour = |at| self.zone.local(at).time();
            within(time, hour(period.start), hour(period.end))
        };
        self.current.iter().find(is_now).map(|(_, name)| *name)
    }
}

/// Whether a time of day lies between two, perhaps over midnight.
fn within(time: NaiveTime, start: NaiveTime, end: NaiveTime) -> bool {
    if start <= end { start <= time && time < end } else { start <= time || time < end }
}

/// The periods in lists of lists, however deep.
fn collect(value: Option<&Value>, name: &'static str, depth: u8, into: &mut Vec<(Period, &'static str)>) {
    match value {
        Some(Value::Array(list)) if depth > 0 => {
            for inner in list {
                collect(Some(inner), name, depth - 1, into);
            }
        }
        other => into.extend(Period::of(other).map(|period| (period, name))),
    }
}
