//! How each provider writes a symbol, and since when.

use arrow::error::ArrowError;
use chrono::{Days, NaiveDate};
use stockflow_core::{Error, Result};

use super::Found;
use super::rows::dated;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// Our name.
    pub symbol: String,
    /// Whose spelling it is.
    pub provider: String,
    /// The provider's name.
    pub spelling: String,
    /// The first trading date for which it is asked so; `None`: from the beginning.
    pub from: Option<NaiveDate>,
    /// The last one, included; `None`: up to now.
    pub to: Option<NaiveDate>,
}

/// A part of a request under one spelling; `None` where the table says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The spelling.
    pub spelling: Option<String>,
    /// The first trading date.
    pub from: Option<NaiveDate>,
    /// The last trading date, included.
    pub to: Option<NaiveDate>,
    /// The last date for which this spelling holds, whatever was asked for; `None`: up to now.
    pub until: Option<NaiveDate>,
}

impl Piece {
    /// What was found, without bars and actions of other dates than the piece's.
    pub(super) fn only(&self, found: Found) -> std::result::Result<Found, ArrowError> {
        Ok(Found {
            bars: dated(&found.bars, self.from, self.to.or(self.until))?,
            actions: dated(&found.actions, self.from, self.until)?,
            ..found
        })
    }
}

/// The dated table from symbols to each provider's spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spellings(Vec<Spelling>);

impl Spellings {
    /// A table of these rows.
    ///
    /// # Errors
    ///
    /// Class config, if two rows of one symbol and provider overlap, or a row ends before it begins.
    pub fn new(rows: impl IntoIterator<Item = Spelling>) -> Result<Self> {
        let mut rows: Vec<Spelling> = rows.into_iter().collect();
        let key = |row: &Spelling| (row.symbol.clone(), row.provider.clone(), row.from);
        rows.sort_by_key(key);
        let wrong = |row: &Spelling, reason: &str| {
            Error::parameter("spelling", "table", format!("`{}` at {}: {reason}", row.symbol, row.provider))
        };
        for row in &rows {
            if let (Some(from), Some(to)) = (row.from, row.to)
                && to < from
            {
                return Err(wrong(row, "a row ends before it begins"));
            }
        }
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            let is_same = row.symbol == next.symbol && row.provider == next.provider;
            let is_apart = row.to.zip(next.from).is_some_and(|(to, from)| to < from);
            if is_same && !is_apart {
                return Err(wrong(next, "two rows are for the same dates"));
            }
        }
        Ok(Self(rows))
    }

    /// A table from CSV with the columns `symbol,provider,spelling,from,to`; the dates may be empty.
    ///
    /// # Errors
    ///
    /// Class config with the line, if a column is missing or a date is none; and those of [`Spellings::new`].
    pub fn from_csv(text: &str) -> Result<Self> {
        let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let header = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
        let column = |name: &str| {
            let found = header.iter().position(|it| it.eq_ignore_ascii_case(name));
            found.ok_or_else(|| Error::parameter("spelling", "table", format!("has no column `{name}`")))
        };
        let (symbol, provider, spelling) = (column("symbol")?, column("provider")?, column("spelling")?);
        let (from, to) = (column("from").ok(), column("to").ok());
        let mut rows = Vec::new();
        for (line_idx, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let cells = cells(line);
            let wrong = |what: String| Error::parameter("spelling", "table", format!("line {}: {what}", line_idx + 1));
            let text = |at: usize, name: &str| {
                let cell = cells.get(at).filter(|cell| !cell.is_empty()).cloned();
                cell.ok_or_else(|| wrong(format!("`{name}` is empty")))
            };
            let date = |at: Option<usize>| match at.and_then(|at| cells.get(at)).filter(|cell| !cell.is_empty()) {
                Some(cell) => cell.parse().map(Some).map_err(|_| wrong(format!("`{cell}` is no date"))),
                None => Ok(None),
            };
            rows.push(Spelling {
                symbol: text(symbol, "symbol")?,
                provider: text(provider, "provider")?,
                spelling: text(spelling, "spelling")?,
                from: date(from)?,
                to: date(to)?,
            });
        }
        Self::new(rows)
    }

    /// The rows of a symbol, by date.
    fn rows_of<'a>(&'a self, symbol: &'a str, provider: &'a str) -> impl Iterator<Item = &'a Spelling> {
        self.0.iter().filter(move |row| row.symbol == symbol && row.provider == provider)
    }

    /// The parts of a range, each under one spelling, in the order of time, without gaps.
    pub fn pieces(&self, symbol: &str, provider: &str, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        // The first date that is not covered yet; `None`: from the beginning.
        let mut next = from;
        let last = to.unwrap_or(NaiveDate::MAX);
        for row in self.rows_of(symbol, provider) {
            let is_before = row.to.is_some_and(|end| next.is_some_and(|next| end < next));
            let is_behind = row.from.is_some_and(|start| last < start);
            if is_before || is_behind {
                continue;
            }
            if let Some(start) = row.from
                && next.is_none_or(|next| next < start)
            {
                let before = start.checked_sub_days(Days::new(1));
                pieces.push(Piece { spelling: None, from: next, to: before, until: before });
                next = Some(start);
            }
            let end = match (row.to, to) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            pieces.push(Piece { spelling: Some(row.spelling.clone()), from: next, to: end, until: row.to });
            match row.to.and_then(|end| end.checked_add_days(Days::new(1))) {
                Some(after) if after <= last => next = Some(after),
                _ => return pieces,
            }
        }
        // A row that begins later ends the usual name.
        let later = self.rows_of(symbol, provider).filter_map(|row| row.from).find(|start| last < *start);
        let until = later.and_then(|start| start.checked_sub_days(Days::new(1)));
        pieces.push(Piece { spelling: None, from: next, to, until });
        pieces
    }
}
