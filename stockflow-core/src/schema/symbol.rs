//! What is known of a symbol: where it trades, in which currency and unit, and since when.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What names a row of the reference table of symbols.
pub const SYMBOL_KEY: [&str; 1] = ["symbol"];

/// The columns of the reference table of symbols: one row a symbol, as its provider describes it.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol` | Utf8, not null | our name of the instrument |
/// | `name` | Utf8 | the instrument's long name, else its short one |
/// | `kind` | Utf8 | `EQUITY`, `ETF`, `MUTUALFUND`, `INDEX`, `CURRENCY`, `CRYPTOCURRENCY`, `FUTURE` |
/// | `exchange` | Utf8 | the provider's code of the exchange, `NMS` |
/// | `calendar` | Utf8 | its [calendar](crate::market::calendar::Calendar), `XNYS`; NULL if there is none for the code |
/// | `currency` | Utf8 | the main unit of the currency of its prices, `GBP` |
/// | `sub_unit` | Utf8 | the unit in which the provider quotes, `GBp`; NULL if that is `currency` itself |
/// | `sub_unit_factor` | Float64 | one `sub_unit` in `currency`, 0.01; NULL with it |
/// | `time_zone` | Utf8 | of the exchange, `America/New_York` |
/// | `tick_size` | Float64 | the last decimal of a quoted price, in `currency`; the exchange's own steps may be wider |
/// | `first_trade_date` | Date32 | the first trading date that the provider has |
/// | `renamed_from`, `renamed_to` | Utf8 | the provider's name of it before and after the last change of that name; NULL if none is known |
/// | `renamed_on` | Date32 | the first trading date under `renamed_to` |
/// | `delisted_on` | Date32 | the date of the last trade, where the provider says that it is listed no more; NULL where nobody says so |
/// | `provider` | Utf8, not null | who says all this |
/// | `as_of` | Timestamp(us, UTC), not null | when we learned it |
pub fn symbol_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let date = |name| Field::new(name, DataType::Date32, true);
    let number = |name| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        text("name"),
        text("kind"),
        text("exchange"),
        text("calendar"),
        text("currency"),
        text("sub_unit"),
        number("sub_unit_factor"),
        text("time_zone"),
        number("tick_size"),
        date("first_trade_date"),
        text("renamed_from"),
        text("renamed_to"),
        date("renamed_on"),
        date("delisted_on"),
        Field::new("provider", DataType::Utf8, false),
        Field::new("as_of", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}
