//! Which members of a reply the decoders read, from their own tables of columns: for an examination of live replies.

use std::collections::BTreeSet;

use super::{HOLDER_MODULES, chart, holders, insights, quote, search};

/// The members that one decoder reads.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    /// Where in the reply its objects are.
    pub(crate) at: &'static [&'static str],
    /// Their members, and those below, with a dot between: `instrumentInfo.valuation.discount`. Lists, and maps whose keys are
    /// times, are passed through.
    pub(crate) members: BTreeSet<String>,
    /// Members of which there may be none although all is well, with all that is below them.
    pub(crate) optional: &'static [&'static str],
}

impl Reads {
    fn new(
        at: &'static [&'static str],
        members: impl IntoIterator<Item = String>,
        optional: &'static [&'static str],
    ) -> Self {
        Self { at, members: members.into_iter().collect(), optional }
    }

    pub(crate) fn of_chart() -> Self {
        Self::new(&["chart", "result"], chart::members(), &["events", "meta.tradingPeriods", "meta.shortName"])
    }

    pub(crate) fn of_quote() -> Self {
        let optional = &["preMarketPrice", "postMarketPrice", "dividendRate"];
        Self::new(&["quoteResponse", "result"], quote::members(), optional)
    }

    pub(crate) fn of_holders() -> Self {
        // What insiders hold directly is mostly an empty list.
        let optional = &["majorDirectHolders.holders", "insiderHolders.holders.positionIndirect"];
        let mut reads = Self::new(&["quoteSummary", "result"], holders::members(), optional);
        reads.members.extend(HOLDER_MODULES.map(str::to_owned));
        reads
    }

    pub(crate) fn of_insights() -> Self {
        Self::new(&["finance", "result"], insights::members(), &["events", "secReports"])
    }

    pub(crate) fn of_search() -> Self {
        Self::new(&["quotes"], search::members(), &[])
    }
}
