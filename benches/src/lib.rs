//! Made-up bars for the criterion benches: the same on every machine and in every run.
//!
//! Whole jobs are measured by `scripts/bench` on files that `benches/generate.py` writes.

/// The numeric columns of one symbol's bars, oldest first; prices are a random walk.
#[derive(Debug, Clone)]
pub struct Bars {
    /// First price.
    pub open: Vec<f64>,
    /// Highest price.
    pub high: Vec<f64>,
    /// Lowest price.
    pub low: Vec<f64>,
    /// Last price.
    pub close: Vec<f64>,
    /// Traded volume.
    pub volume: Vec<f64>,
}

impl Bars {
    /// `rows` bars with daily moves of about two percent.
    ///
    /// ```
    /// let bars = stockflow_benches::Bars::generate(1_000);
    /// assert_eq!(bars.close.len(), 1_000);
    /// assert!((0..1_000).all(|i| bars.low[i] <= bars.close[i] && bars.close[i] <= bars.high[i]));
    /// ```
    pub fn generate(rows: usize) -> Self {
        let column = || Vec::with_capacity(rows);
        let mut bars = Self { open: column(), high: column(), low: column(), close: column(), volume: column() };
        let mut random = Random(20_260_101);
        let mut last = 100.0_f64;
        for _ in 0..rows {
            let open = last * (1.0 + 0.01 * random.symmetric());
            // Pulled towards 100, so that a million bars stay in the range of prices.
            let close = open * (1.0 + 0.035 * random.symmetric()) * (100.0 / open).powf(0.002);
            bars.high.push(open.max(close) * (1.0 + 0.01 * random.unit()));
            bars.low.push(open.min(close) * (1.0 - 0.01 * random.unit()));
            bars.volume.push((1e6 * (0.2 + random.unit())).floor());
            bars.open.push(open);
            bars.close.push(close);
            last = close;
        }
        bars
    }

    /// A column by its name in the schema of bars; the close for any other name.
    pub fn column(&self, name: &str) -> &[f64] {
        match name {
            "open" => &self.open,
            "high" => &self.high,
            "low" => &self.low,
            "volume" => &self.volume,
            _ => &self.close,
        }
    }
}

/// SplitMix64: small, fast, and good enough for prices that nobody trades.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// In `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `-1.0..1.0`.
    fn symmetric(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }
}
