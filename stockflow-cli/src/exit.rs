//! How a command ends: its exit code, and an error as its causes and the next step to try.

use std::process::ExitCode;

use datafusion::error::DataFusionError;
use stockflow_core::{Error, ErrorClass};

use crate::config::ConfigError;
use crate::render::{is_closed, say};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything went well.
    Done,
    /// It did not work.
    Failed,
    /// The command line or the pipeline file is wrong, or does not fit what is there.
    Usage,
    /// It worked, but rows were refused or partitions left out.
    Partly,
    /// Another runner owns the pipeline now.
    Fenced,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::Fenced => 4,
        }
    }
}

impl Exit {
    /// The worse one of two runs that worked.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error as it is told to a person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// From the outermost layer to the cause.
    pub(crate) causes: Vec<String>,
    /// Several things of equal standing that are wrong.
    pub(crate) details: Vec<String>,
    /// What to try next.
    pub(crate) next: Option<String>,
}

/// The result of a command.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    /// Wrong usage, in one sentence.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, causes: vec![text.into()], details: Vec::new(), next: None }
    }

    /// Something that did not work, in one sentence.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, causes: vec![text.into()], details: Vec::new(), next: None }
    }

    /// Adds what to try next, unless something better is known.
    #[must_use]
    pub(crate) fn or_next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert_with(|| next.into());
        self
    }

    /// Adds what was being done.
    #[must_use]
    pub(crate) fn context(mut self, text: impl Into<String>) -> Self {
        self.causes.insert(0, text.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Prints it to standard error, one line a cause.
    pub(crate) fn print(&self) {
        let mut causes = self.causes.iter();
        if let Some(first) = causes.next() {
            say(format!("error: {first}"));
        }
        for cause in causes {
            say(format!("  because: {cause}"));
        }
        for detail in &self.details {
            say(format!("  {detail}"));
        }
        if let Some(next) = &self.next {
            say(format!("  next: {next}"));
        }
    }

    /// Ends the command; with `json`, standard output has the error, too.
    pub(crate) fn end(self, json: bool) -> Exit {
        // Who reads `| head` has what they wanted.
        if is_closed() {
            return Exit::Done;
        }
        if json {
            let (error, causes) =
                self.causes.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
            // Nobody may be there to read it; the exit code says it, too.
            let _ = crate::render::json(
                &serde_json::json!({"error": error, "causes": causes, "details": self.details, "next": self.next, "exit_code": self.exit.code()}),
            );
        }
        self.print();
        self.exit
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next =
            "correct the file and check it with `stockflow validate`; all fields are described in docs/pipelines.md";
        match error.lines().as_slice() {
            [one] => Self::usage(one).or_next(next),
            many => Self {
                details: many.to_vec(),
                ..Self::usage(format!("`{}` has {} problems", error.file, many.len())).or_next(next)
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { exit: exit_of(&error), causes: error.chain(), details: Vec::new(), next: next_of(&error) }
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

fn exit_of(error: &Error) -> Exit {
    if error.is_fenced() {
        return Exit::Fenced;
    }
    // What does not fit before the first epoch stands in the pipeline file.
    if let Error::At { epoch: 0, source, .. } = error
        && matches!(source.as_ref(), Error::Schema { .. })
    {
        return Exit::Usage;
    }
    match innermost(error) {
        Error::InvalidPipeline { .. } | Error::InvalidParameter { .. } | Error::Mismatch { .. } => Exit::Usage,
        Error::Query { source, .. } if is_unplanned(source) => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Whether a query could not even be planned: its text is wrong, or does not fit the tables.
pub(crate) fn is_unplanned(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
    )
}

fn next_of(error: &Error) -> Option<String> {
    let text = match innermost(error) {
        Error::Fenced { .. } => "look at `stockflow status`; start this one again only when the other has ended",
        Error::Mismatch { .. } => {
            "undo the change, or run the same command with `--rebuild`: every symbol is computed again"
        }
        Error::DeadLetters { .. } => {
            "correct the input or the rules; `max_dead_letters` in the pipeline file is the limit"
        }
        Error::Interrupted { .. } => "run the same command again; nothing is lost and nothing is doubled",
        Error::PinLost { .. } => "put the file back as it was, or start over with `--rebuild`",
        Error::InvalidPipeline { .. } | Error::InvalidParameter { .. } | Error::Schema { .. } => {
            "check the pipeline with `stockflow validate`"
        }
        Error::Query { source, .. } if is_unplanned(source) => {
            "correct the query; `stockflow indicators NAME` shows how an indicator is called"
        }
        inner => match inner.class() {
            ErrorClass::Transient => "it may work later: run the same command again",
            ErrorClass::Config => "check the machine and the folders with `stockflow doctor`",
            ErrorClass::Data => "correct the input, and run the same command again",
            _ => return None,
        },
    };
    Some(text.into())
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::At { source, .. } => innermost(source),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let code = |error: Error| Failure::from(error).exit.code();
        assert_eq!(code(Error::Fenced { pipeline: "main".into(), own: 1, newer: 2 }.at("main", 3, "commit")), 4);
        assert_eq!(code(Error::Mismatch { pipeline: "main".into(), difference: "sma(20)".into() }), 2);
        assert_eq!(code(Error::parameter("sma", "period", "0")), 2);
        assert_eq!(code(Error::internal("x").at("main", 1, "stage")), 1);
        assert_eq!(code(Error::parameter("clean", "tolerance", "-1").at("main", 0, "step `bars`")), 2);
        let schema = || Error::schema("aggregate", "`sector` is missing");
        assert_eq!((code(schema().at("main", 0, "step `a`")), code(schema().at("main", 1, "apply"))), (2, 1));
        let query = |source| Error::Query { step: "plan".into(), source: Box::new(source) };
        assert_eq!(code(query(DataFusionError::Plan("rsi".into()).context("check_indicator_windows"))), 2);
        assert_eq!(code(query(DataFusionError::Execution("overflow".into()))), 1);
    }

    #[test]
    fn an_error_in_an_epoch_keeps_its_next_step() {
        let error = Error::DeadLetters { refused: 2, reason: "more than 1".into(), first: "a.csv@3".into() }
            .at("main", 1, "scan");
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.causes.len(), 2);
        assert!(failure.next.is_some_and(|next| next.contains("max_dead_letters")));
    }
}
