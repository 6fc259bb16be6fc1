//! `stockflow dlq`

use clap::{Args, Subcommand};
use stockflow_core::store::LetterFilter;

use super::{PipelineArgs, symbol};

const LIST_EXAMPLES: &str = "\
Examples:
  stockflow dlq list pipeline.toml                      open letters, newest first, and how many there are of each reason
  stockflow dlq list pipeline.toml --limit 20           the newest twenty; older epochs are not read
  stockflow dlq list pipeline.toml --symbol AAPL --reason 'no number' --json
  stockflow dlq list pipeline.toml --all                those that were replayed, too";

const SHOW_EXAMPLES: &str = "\
Examples:
  stockflow dlq show 3f9ac21b pipeline.toml             the beginning of an id is enough
  stockflow dlq show 3f9ac21b pipeline.toml --json";

const REPLAY_EXAMPLES: &str = "\
Examples:
  stockflow dlq replay pipeline.toml                    all open letters, after the cause was mended outside of the file
  stockflow dlq replay pipeline.toml --mended           after the columns, types or rules in the file were mended
  stockflow dlq replay pipeline.toml --connector store  what one sink refused, now that its table is wide enough

A letter goes on from the border that refused it: what the source could not decode is decoded again, what a step refused
enters that step, what a sink refused goes to that sink. Letters that are refused again stay as they are.

Exit codes:
  0 every letter went through   3 some were refused again or cannot be replayed";

const PURGE_EXAMPLES: &str = "\
Examples:
  stockflow dlq purge pipeline.toml --all --yes         everything, without a question
  stockflow dlq purge pipeline.toml --reason 'is no date'

It removes what `dlq list` lists with the same options, from the checkpoint store. Copies in a dead-letter sink stay.";

/// `stockflow dlq`
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, newest first, with a count by reason
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        letters: LetterArgs,
        /// Those that were replayed, too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one dead letter whole: a message with its key, headers and bytes, a row with its columns
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        pipeline: PipelineArgs,
    },
    /// Let dead letters go through the pipeline again, once their cause is mended
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        letters: LetterArgs,
        /// The file was mended since: how the source decodes, steps before the history, late bars; what was delivered before
        /// stays as it is
        #[arg(long)]
        mended: bool,
    },
    /// Remove dead letters for good
    #[command(after_help = PURGE_EXAMPLES)]
    Purge {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        letters: LetterArgs,
        /// Those that were replayed, too
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct LetterArgs {
    /// Of these symbols
    #[arg(long, value_name = "SYMBOL,…", value_delimiter = ',', value_parser = symbol, help_heading = "Which letters")]
    pub(crate) symbol: Vec<String>,
    /// With this text in their reason; case does not count
    #[arg(long, value_name = "TEXT", help_heading = "Which letters")]
    pub(crate) reason: Option<String>,
    /// Refused by these: the source's type, such as `kafka`, or the name of a step or sink
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = "Which letters")]
    pub(crate) connector: Vec<String>,
    /// Of this epoch
    #[arg(long, value_name = "EPOCH", help_heading = "Which letters")]
    pub(crate) epoch: Option<u64>,
    /// With these ids, or beginnings of some
    #[arg(long, value_name = "ID,…", value_delimiter = ',', help_heading = "Which letters")]
    pub(crate) id: Vec<String>,
}

impl LetterArgs {
    /// The same as a filter.
    pub(crate) fn filter(self, replayed: bool) -> LetterFilter {
        let Self { symbol, reason, connector, epoch, id } = self;
        LetterFilter { ids: id, symbols: symbol, reason, connectors: connector, epoch, replayed }
    }
}
