//! What a reply says of its symbol.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::yahoo::decode::json::{at, items, text};
use crate::yahoo::decode::number::{Number, whole};
use crate::yahoo::decode::time::instant;

/// A stretch of time, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    /// Its first moment.
    pub start: DateTime<Utc>,
    /// The moment after its last.
    pub end: DateTime<Utc>,
}

impl Period {
    /// The period in an object of Yahoo's.
    pub(super) fn of(value: Option<&Value>) -> Option<Self> {
        let moment = |key| whole(value?.get(key)).and_then(instant);
        Some(Self { start: moment("start")?, end: moment("end")? })
    }

    pub(super) fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether it is that of a market around the clock, which Yahoo ends a minute early.
    pub(super) fn is_all_day(&self) -> bool {
        self.end - self.start >= Duration::minutes(23 * 60 + 30)
    }
}

/// The members of `meta` that are read, those for the clock and the sessions among them.
pub(super) const META: [&str; 18] = [
    "currency",
    "currentTradingPeriod",
    "dataGranularity",
    "exchangeName",
    "exchangeTimezoneName",
    "firstTradeDate",
    "fullExchangeName",
    "gmtoffset",
    "hasPrePostMarketData",
    "instrumentType",
    "longName",
    "priceHint",
    "regularMarketPrice",
    "regularMarketTime",
    "shortName",
    "symbol",
    "tradingPeriods",
    "validRanges",
];

/// What a reply says of its symbol; any of it may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Yahoo's name.
    pub symbol: Option<String>,
    /// The currency of the prices as Yahoo writes it: `GBp` is a [sub-unit](crate::yahoo::decode::sub_unit), `GBP` is not.
    pub currency: Option<String>,
    /// The exchange's code, `NMS`; `YHD` is where delisted symbols are kept.
    pub exchange: Option<String>,
    /// The exchange's name, `NasdaqGS`.
    pub exchange_name: Option<String>,
    /// The exchange's time zone, `America/New_York`.
    pub time_zone: Option<String>,
    /// The width of the bars that came, `1d`.
    pub granularity: Option<String>,
    /// EQUITY, ETF, MUTUALFUND, INDEX, CURRENCY, CRYPTOCURRENCY or FUTURE.
    pub instrument: Option<String>,
    /// The long name, else the short one.
    pub name: Option<String>,
    /// The first trade that Yahoo has.
    pub first_trade: Option<DateTime<Utc>>,
    /// The latest trade of a regular session.
    pub last_trade: Option<DateTime<Utc>>,
    /// Its price.
    pub last_price: Option<f64>,
    /// The decimals of a price.
    pub price_hint: Option<i64>,
    /// Whether there are bars before and after the regular session.
    pub has_pre_post: Option<bool>,
    /// The running or the next regular session.
    pub regular: Option<Period>,
    /// What `range` the symbol allows.
    pub valid_ranges: Vec<String>,
}

impl Facts {
    /// The date at a moment on the exchange's clock; on the clock that is furthest ahead if the reply names none.
    pub(crate) fn date(&self, at: DateTime<Utc>) -> NaiveDate {
        match self.time_zone.as_deref().and_then(|name| name.parse::<Tz>().ok()) {
            Some(zone) => at.with_timezone(&zone).date_naive(),
            None => (at + Duration::hours(14)).date_naive(),
        }
    }

    pub(super) fn of(meta: &Value) -> Self {
        let word = |key| text(meta.get(key)).map(str::to_owned);
        let moment = |key| whole(meta.get(key)).and_then(instant);
        Self {
            symbol: word("symbol"),
            currency: word("currency"),
            exchange: word("exchangeName"),
            exchange_name: word("fullExchangeName"),
            time_zone: word("exchangeTimezoneName"),
            granularity: word("dataGranularity"),
            instrument: word("instrumentType"),
            name: word("longName").or_else(|| word("shortName")),
            first_trade: moment("firstTradeDate"),
            last_trade: moment("regularMarketTime"),
            last_price: Number::of(meta.get("regularMarketPrice")).ok(),
            price_hint: whole(meta.get("priceHint")),
            has_pre_post: meta.get("hasPrePostMarketData").and_then(Value::as_bool),
            regular: Period::of(at(meta, &["currentTradingPeriod", "regular"])),
            valid_ranges: items(meta.get("validRanges"))
                .iter()
                .filter_map(|it| text(Some(it)))
                .map(str::to_owned)
                .collect(),
        }
    }
}
