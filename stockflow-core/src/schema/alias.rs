//! Foreign column names and what they are called here.

/// The column of a bar that a foreign column name means, if it is known.
///
/// Case, blanks, `_`, `-` and `.` do not count: `Adj Close`, `adj_close` and `AdjClose` are one.
pub fn bar_column(foreign: &str) -> Option<&'static str> {
    Some(match squeeze(foreign).as_str() {
        "symbol" | "ticker" | "name" | "instrument" | "code" => "symbol",
        "interval" | "timeframe" => "interval",
        "ts" | "timestamp" | "datetime" | "time" | "opentime" => "ts",
        "date" | "day" | "tradingdate" | "tradedate" | "dt" => "date",
        "open" | "o" | "openprice" | "1open" => "open",
        "high" | "h" | "highprice" | "max" | "2high" => "high",
        "low" | "l" | "lowprice" | "min" | "3low" => "low",
        "close" | "c" | "closeprice" | "last" | "price" | "4close" => "close",
        "volume" | "v" | "vol" | "qty" | "5volume" => "volume",
        "adjclose" | "adjustedclose" | "adjcloseprice" | "closeadj" => "adj_close",
        "currency" | "ccy" => "currency",
        "provider" | "source" => "provider",
        "session" => "session",
        "basis" => "basis",
        "isfinal" => "is_final",
        "sourcets" => "source_ts",
        "asof" => "as_of",
        _ => return None,
    })
}

/// A name without case, blanks and punctuation.
pub fn squeeze(name: &str) -> String {
    name.trim_start_matches('\u{feff}').chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_usual_spellings() {
        for (foreign, ours) in [
            ("Adj Close", "adj_close"),
            ("Ticker", "symbol"),
            ("Name", "symbol"),
            ("\u{feff}Date", "date"),
            ("OPEN", "open"),
        ] {
            assert_eq!(bar_column(foreign), Some(ours), "{foreign}");
        }
        assert_eq!(bar_column("dividend"), None);
    }
}
