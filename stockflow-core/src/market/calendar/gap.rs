//! Days of trade without a bar, and bars without a day of trade.

use chrono::NaiveDate;

use super::Calendar;

/// What a span of dates lacks and has too much, held against a calendar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Days of trade that are not present, in order.
    pub missing: Vec<NaiveDate>,
    /// Days that are present although the exchange did not trade, in order.
    pub unexpected: Vec<NaiveDate>,
    /// Spans (both ends included) of which the calendar knows nothing: no gap is found in them, nor ruled out.
    pub unknown: Vec<(NaiveDate, NaiveDate)>,
}

impl Gaps {
    /// Whether every day is known and none is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty()
    }
}

impl Calendar {
    /// Holds the dates that are present, in any order, against the days of trade from one day to another, both
    /// included.
    ///
    /// Dates outside the span are passed over. Whether a symbol was listed on a day, or suspended, the calendar does
    /// not know: the span is to be the one in which bars are expected.
    pub fn gaps(&self, from: NaiveDate, to: NaiveDate, present: impl IntoIterator<Item = NaiveDate>) -> Gaps {
        if from > to {
            return Gaps::default();
        }
        let unknown = self.unknown(from, to);
        let (start, end) = (from.max(self.first), to.min(self.last));
        let mut present: Vec<_> = present.into_iter().filter(|it| start <= *it && *it <= end).collect();
        present.sort_unstable();
        present.dedup();
        let sessions = if start <= end { Some(self.known_sessions(start, end)) } else { None };
        let missing = sessions.into_iter().flatten().filter(|it| present.binary_search(it).is_err()).collect();
        present.retain(|it| self.is_session(*it) == Some(false));
        Gaps { missing, unexpected: present, unknown }
    }

    fn unknown(&self, from: NaiveDate, to: NaiveDate) -> Vec<(NaiveDate, NaiveDate)> {
        let before = self.first.pred_opt().map(|it| (from, to.min(it)));
        let after = self.last.succ_opt().map(|it| (from.max(it), to));
        before.into_iter().chain(after).filter(|(start, end)| start <= end).collect()
    }
}
