//! A wrong command line, told to machines that asked for JSON.

use std::process::ExitCode;

use clap::error::Error;

use crate::exit::Failure;
use crate::render::say_as_json;

/// Ends the process: help and version are printed, wrong usage is told as `--json` and `--log-format` ask for.
pub(crate) fn end(error: &Error) -> ExitCode {
    // The command line could not be read, so its own words must do.
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (json, json_log) = asked(&words);
    if !error.use_stderr() || !(json || json_log) {
        error.exit();
    }
    if json_log {
        say_as_json();
    }
    failure(&error.to_string()).end(json).into()
}

/// Whether a document and whether log lines in JSON are wanted.
fn asked(words: &[String]) -> (bool, bool) {
    let options: Vec<&str> = words.iter().map(String::as_str).take_while(|word| *word != "--").collect();
    let has_pair = options.windows(2).any(|pair| pair == ["--log-format", "json"]);
    (options.contains(&"--json"), has_pair || options.contains(&"--log-format=json"))
}

/// clap says the error first, then tips and the usage.
fn failure(text: &str) -> Failure {
    let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = parts.next().unwrap_or_default();
    let rest: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    Failure::usage(first.strip_prefix("error: ").unwrap_or(&first)).or_next(rest.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_taken_apart() {
        let told = failure("error: unrecognized subcommand 'statsu'\n\n  tip: a similar one\n\nUsage: stockflow\n");
        assert_eq!(told.causes, ["unrecognized subcommand 'statsu'"]);
        assert_eq!(told.next.as_deref(), Some("tip: a similar one; Usage: stockflow"));
    }

    #[test]
    fn what_follows_two_dashes_is_no_option() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(asked(&words("run --json --log-format json")), (true, true));
        assert_eq!(asked(&words("run -- --json")), (false, false));
    }
}
