//! Log lines on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{Global, LogFormat};
use crate::render::say_as_json;

/// Starts logging: `RUST_LOG` decides, else `-q`, `-v` and `-vv`.
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose, global.log_format) {
        (true, _, _) => "error",
        // JSON lines are for machines that collect them: what happens is told there without being asked for.
        (false, 0, LogFormat::Text) => "warn",
        (false, 0, LogFormat::Json) | (false, 1, _) => "warn,stockflow=info,stockflow_core=info,stockflow_io=info",
        (false, _, _) => "info,stockflow=debug,stockflow_core=debug,stockflow_io=debug",
    };
    if global.log_format == LogFormat::Json {
        say_as_json();
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only be there in tests; the first one stays.
    let _ = match global.log_format {
        LogFormat::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_span_events(FmtSpan::NONE).try_init(),
    };
}
