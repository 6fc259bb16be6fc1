//! What a session may say about the operator.

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::config::ConfigOptions;

extensions_options! {
    /// Options of the symbol window operator, under the prefix `stockflow`.
    pub struct WindowOptions {
        /// Whether the operator takes the place of DataFusion's own; the results are the same.
        pub symbol_window: bool, default = true
        /// Whether rows go on at once, on trust that each symbol's bars come in order.
        /// Where they do not, the query fails with `OutOfOrder`, and whoever asked for it runs it again without.
        /// Goes with `datafusion.optimizer.enable_round_robin_repartition = false` and `repartition_file_scans = false`:
        /// rows dealt out in turns have no order, and parts of a file share series.
        pub trust_order: bool, default = false
        /// Bytes that each partition may hold before it goes on on disk, if the session's memory pool has no limit
        /// that is smaller.
        pub window_memory: usize, default = 128 << 20
    }
}

impl ConfigExtension for WindowOptions {
    const PREFIX: &'static str = "stockflow";
}

impl WindowOptions {
    /// The session's options, or the defaults.
    pub(super) fn of(config: &ConfigOptions) -> Self {
        config.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}
