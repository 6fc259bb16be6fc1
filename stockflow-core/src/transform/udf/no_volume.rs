//! `stockflow_no_volume(symbol)`: whether a name is that of an instrument without volume: an index, a pair of currencies, a fund.

use std::sync::{Arc, LazyLock};

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF};

use super::{Simple, array_arg};

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Simple::udf("stockflow_no_volume", 1, DataType::Boolean, call));

/// Whether the symbol is that of an instrument without volume; NULL stays NULL.
pub(crate) fn no_volume(symbol: Expr) -> Expr {
    UDF.call(vec![symbol])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let array = array_arg(args, 0)?;
    // Runs of one symbol are the rule.
    let mut last: Option<(&str, bool)> = None;
    let known = as_string_array(&array)?.iter().map(|symbol| {
        let symbol = symbol?;
        match last {
            Some((seen, known)) if seen == symbol => Some(known),
            _ => Some(last.insert((symbol, is_without_volume(symbol))).1),
        }
    });
    Ok(ColumnarValue::Array(Arc::new(known.collect::<BooleanArray>())))
}

fn is_without_volume(symbol: &str) -> bool {
    let upper = symbol.trim().to_ascii_uppercase();
    // Yahoo's `^GSPC` and `JPY=X`, Polygon's `I:SPX`.
    if upper.starts_with('^') || upper.starts_with("I:") || upper.ends_with("=X") {
        return true;
    }
    // Who quotes it: `FX:EURUSD`, `CBOE:VIX`.
    let bare = match upper.split_once(':') {
        Some((source, bare)) if source.chars().all(|it| it.is_ascii_uppercase() || it == '_') => bare,
        _ => upper.as_str(),
    };
    is_index(bare) || is_pair(bare) || is_fund(&upper)
}

/// `SPX`, `$SPX`, `.DJI`, `SPX.INDX`, `DX-Y.NYB`.
fn is_index(symbol: &str) -> bool {
    let bare = symbol.strip_prefix(['$', '.']).unwrap_or(symbol);
    let name = bare.split_once('.').map_or(bare, |(name, _)| name);
    INDICES.binary_search(&name).is_ok()
}

/// `EURUSD`, `EUR/USD`, `EUR_USD`, `USDJPY.FX`.
fn is_pair(symbol: &str) -> bool {
    let ending = ENDINGS.iter().find_map(|it| symbol.strip_suffix(it));
    let Some((base, quote)) = ending.unwrap_or(symbol).split_at_checked(3) else { return false };
    let quote = quote.strip_prefix(['-', '/', '.', '_', ' ']).unwrap_or(quote);
    [base, quote].iter().all(|it| CURRENCIES.binary_search(it).is_ok())
}

/// Morningstar's `0P000071W8.TO`; on Nasdaq five letters that end in X.
fn is_fund(symbol: &str) -> bool {
    let name = symbol.split_once('.').map_or(symbol, |(name, _)| name);
    let is_code = name.len() == 10 && name.starts_with("0P") && name.chars().all(|it| it.is_ascii_alphanumeric());
    let is_ticker = symbol.len() == 5 && symbol.ends_with('X') && symbol.chars().all(|it| it.is_ascii_uppercase());
    is_code || is_ticker
}

const ENDINGS: [&str; 4] = [".FX", ".FOREX", ".CUR", ".SPOT"];

/// Currencies of ISO 4217 that are traded, the offshore yuan, and the four metals; sorted.
const CURRENCIES: [&str; 162] = [
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF",
    "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLF", "CLP", "CNH", "CNY",
    "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP",
    "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS", "INR", "IQD",
    "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN",
    "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG",
    "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP",
    "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD",
    "UYU", "UZS", "VES", "VND", "VUV", "WST", "XAF", "XAG", "XAU", "XCD", "XOF", "XPD", "XPF", "XPT", "YER", "ZAR",
    "ZMW", "ZWL",
];

/// Indices that are written without the sign of one, sorted. Names that a share has, too, are left out.
const INDICES: [&str; 71] = [
    "AEX25",
    "ASX200",
    "AXJO",
    "BANKNIFTY",
    "BSESN",
    "BVSP",
    "CAC40",
    "CCMP",
    "CSI300",
    "DAX30",
    "DAX40",
    "DJI",
    "DJIA",
    "DJT",
    "DJU",
    "DX-Y",
    "DXY",
    "FCHI",
    "FTSE",
    "FTSE100",
    "GDAXI",
    "GSPC",
    "GSPTSE",
    "HSCEI",
    "HSI",
    "HSTECH",
    "IBEX35",
    "IBOV",
    "IMOEX",
    "INDU",
    "IXIC",
    "JKSE",
    "KLCI",
    "KOSPI",
    "KS11",
    "N225",
    "NDX",
    "NI225",
    "NIFTY",
    "NIFTY50",
    "NKY",
    "NSEI",
    "NYA",
    "OEX",
    "OMXC25",
    "OMXS30",
    "RTSI",
    "RUA",
    "RUI",
    "RUT",
    "RVX",
    "SENSEX",
    "SOX",
    "SPX",
    "SPXT",
    "SSEC",
    "SSMI",
    "STI30",
    "STOXX50",
    "STOXX50E",
    "SX5E",
    "SXXP",
    "TOPIX",
    "TWII",
    "UKX",
    "USDX",
    "VIX",
    "VXD",
    "VXN",
    "WIG20",
    "XU100",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_odd_names_are_no_trouble() {
        assert!(CURRENCIES.is_sorted() && INDICES.is_sorted());
        for symbol in ["", ":", "$", ".", "EUR", "€URUSD", "EU€USD", "EURUS€", "0P", "É", "FX:", "A:B:C"] {
            assert!(!is_without_volume(symbol), "{symbol}");
        }
    }
}
