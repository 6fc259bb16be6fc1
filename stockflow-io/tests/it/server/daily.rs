//! Made-up daily bars: for one symbol and day always the same, whatever window is asked for.

/// The length of a day in seconds.
pub(super) const DAY: i64 = 86_400;

/// One day.
pub(super) struct Daily {
    /// Days since 1970.
    pub(super) day: i64,
    pub(super) open: f64,
    pub(super) high: f64,
    pub(super) low: f64,
    pub(super) close: f64,
    pub(super) adjusted: f64,
    pub(super) volume: u64,
    pub(super) dividend: Option<f64>,
}

/// The working days from `first` to `last`, both counted in days since 1970.
pub(super) fn days(symbol: &str, first: i64, last: i64) -> Vec<Daily> {
    // 1 January 1970 was a Thursday.
    let is_working = |day: &i64| !matches!((day + 4).rem_euclid(7), 0 | 6);
    // Nobody asks a made-up exchange for more than some decades.
    (first.max(last - 20_000)..=last).filter(is_working).map(|day| daily(symbol, day)).collect()
}

fn daily(symbol: &str, day: i64) -> Daily {
    let (open, close) = (price(symbol, day - 1), price(symbol, day));
    let spread = 0.01 * close * fraction(symbol, day, 1);
    let dividend = (day.rem_euclid(91) == i64::from(seed(symbol, 0, 0) as u8 % 5)).then_some(0.25);
    // As if every dividend until day 25,000 were a thousandth of the price.
    let adjusted = close * 0.999_f64.powi(i32::try_from((25_000 - day) / 91).unwrap_or(0));
    Daily {
        day,
        open,
        high: round(open.max(close) + spread),
        low: round(open.min(close) - spread),
        close,
        adjusted: round(adjusted),
        volume: 1_000_000 + seed(symbol, day, 2) % 1_000_000,
        dividend,
    }
}

fn price(symbol: &str, day: i64) -> f64 {
    let base = 20.0 + (seed(symbol, 0, 3) % 280) as f64;
    let wave = (day as f64 / 37.0 + base).sin() * 0.2;
    round(base * (1.0 + wave + 0.02 * fraction(symbol, day, 4)))
}

fn round(price: f64) -> f64 {
    (price * 100.0).round() / 100.0
}

fn fraction(symbol: &str, day: i64, salt: u64) -> f64 {
    (seed(symbol, day, salt) % 1000) as f64 / 1000.0
}

/// FNV-1a over the symbol, the day and a salt, well stirred.
pub(super) fn seed(symbol: &str, day: i64, salt: u64) -> u64 {
    let bytes = symbol.bytes().chain(day.to_le_bytes()).chain(salt.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 29)
}
