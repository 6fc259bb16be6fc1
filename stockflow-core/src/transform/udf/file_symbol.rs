//! `stockflow_file_symbol(path)`: the symbol that a file's name begins with.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::{Simple, map_text};

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Simple::udf("stockflow_file_symbol", 1, DataType::Utf8, |args| {
        map_text(args, |path| symbol_of(path).map(str::to_string))
    })
});

/// Endings that are no part of the stem, the outer ones first.
const ENDINGS: [&str; 11] =
    [".gz", ".zst", ".bz2", ".xz", ".csv", ".tsv", ".txt", ".parquet", ".ndjson", ".jsonl", ".json"];

/// The stem of a file's name up to the first `_`; NULL if nothing is left.
pub(crate) fn file_symbol(path: Expr) -> Expr {
    UDF.call(vec![path])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn symbol_of(path: &str) -> Option<&str> {
    let mut stem = path.rsplit(['/', '\\']).next()?;
    // Only known endings are cut off: `BRK.B.csv` is the symbol `BRK.B`.
    for ending in ENDINGS {
        let at = stem.len().saturating_sub(ending.len());
        if stem.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(ending)) {
            stem = stem.get(..at)?;
        }
    }
    let symbol = stem.split('_').next()?.trim();
    (!symbol.is_empty()).then_some(symbol)
}

#[cfg(test)]
mod tests {
    use super::symbol_of;

    #[test]
    fn takes_the_stem_up_to_the_first_underscore() {
        for (path, expected) in [
            ("/data/AAPL.csv", Some("AAPL")),
            ("s3://lake/in/AAPL_2013.csv.gz", Some("AAPL")),
            ("C:\\in\\BRK.B_data.CSV", Some("BRK.B")),
            ("BF.B.parquet", Some("BF.B")),
            ("^GSPC", Some("^GSPC")),
            ("_AAPL.csv", None),
            (".csv", None),
            ("", None),
        ] {
            assert_eq!(symbol_of(path), expected, "{path}");
        }
    }
}
