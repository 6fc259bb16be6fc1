//! What the table of spellings tells of a symbol's earlier name.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::Date32Type;
use arrow::error::ArrowError;
use chrono::NaiveDate;

use super::{Piece, Spellings};

/// The last change of a provider's name of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Renamed {
    from: String,
    to: String,
    /// The first trading date under the new name.
    on: NaiveDate,
}

impl Renamed {
    /// The last change up to a date; `usual` is the name where the table says nothing.
    pub(super) fn of(
        spellings: &Spellings,
        symbol: &str,
        provider: &str,
        usual: &str,
        upto: NaiveDate,
    ) -> Option<Self> {
        let pieces = spellings.pieces(symbol, provider, None, Some(upto));
        let name = |piece: &Piece| piece.spelling.clone().unwrap_or_else(|| usual.to_owned());
        pieces.iter().zip(pieces.iter().skip(1)).rev().find_map(|(before, after)| {
            let renamed = Self { from: name(before), to: name(after), on: after.from? };
            Some(renamed).filter(|it| it.from != it.to)
        })
    }

    /// The same rows of the reference table, with the change.
    pub(super) fn mark(&self, symbols: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let n = symbols.num_rows();
        let text = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, n))) as ArrayRef;
        let on = Arc::new(Date32Array::from_value(Date32Type::from_naive_date(self.on), n)) as ArrayRef;
        let schema = symbols.schema();
        let mut columns = symbols.columns().to_vec();
        for (name, column) in [("renamed_from", text(&self.from)), ("renamed_to", text(&self.to)), ("renamed_on", on)] {
            columns[schema.index_of(name)?] = column;
        }
        RecordBatch::try_new(schema, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, upto: &str, expected: Option<(&str, &str, &str)>) {
        let spellings = Spellings::from_csv(&format!("symbol,provider,spelling,from,to\n{table}")).unwrap();
        let found = Renamed::of(&spellings, "META", "yahoo", "META", upto.parse().unwrap());
        let found = found.map(|it| (it.from, it.to, it.on.to_string()));
        let found = found.as_ref().map(|(from, to, on)| (from.as_str(), to.as_str(), on.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_last_change_counts_and_one_to_come_does_not() {
        let renamed = Some(("FB", "META", "2022-06-09"));
        check("META,yahoo,FB,,2022-06-08\n", "2024-01-01", renamed);
        check("META,yahoo,FB,,2022-06-08\nMETA,yahoo,META,2022-06-09,\n", "2024-01-01", renamed);
        check("META,yahoo,F,,2011-12-31\nMETA,yahoo,FB,2012-01-01,2022-06-08\n", "2024-01-01", renamed);
        check("META,yahoo,FB,,2022-06-08\n", "2022-06-08", None);
        check("META,yahoo,FB,,\n", "2024-01-01", None);
        check("META,stooq,fb.us,,2022-06-08\n", "2024-01-01", None);
    }
}
