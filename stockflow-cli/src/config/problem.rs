//! What is wrong with a pipeline file: all of it at once, each with its field and line.

use std::cell::RefCell;
use std::fmt;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The field's path, such as `transform[2].rules.volume`; empty for the file as a whole.
    pub(crate) path: String,
    /// The line in the file, from 1.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) text: String,
}

/// Collects problems while a file is read, so that a user sees them all and not one a run.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Adds one.
    pub(crate) fn add(&self, path: impl Into<String>, line: usize, text: impl Into<String>) {
        self.0.borrow_mut().push(Problem { path: path.into(), line, text: text.into() });
    }

    /// Nothing if there were none, else all of them in the order of the file.
    pub(crate) fn finish(&self, file: &str) -> Result<(), ConfigError> {
        let mut problems = self.0.take();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| problem.line);
        Err(ConfigError { file: file.into(), problems })
    }
}

/// A pipeline file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The file as it was given.
    pub(crate) file: String,
    /// At least one problem.
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// One problem with the file as a whole.
    pub(crate) fn whole(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), problems: vec![Problem { path: String::new(), line: 0, text: text.into() }] }
    }

    /// The problems as `file:line: field: text`, one a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let place = |problem: &Problem| {
            if problem.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, problem.line) }
        };
        let field =
            |problem: &Problem| if problem.path.is_empty() { String::new() } else { format!("`{}` ", problem.path) };
        self.problems.iter().map(|problem| format!("{}: {}{}", place(problem), field(problem), problem.text)).collect()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// The known word that is nearest to an unknown one, if one is near enough to be meant.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&unknown.to_lowercase(), &word.to_lowercase()), word));
    let limit = 1 + unknown.chars().count() / 3;
    scored.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// `; did you mean …?`, or the list of what is known.
pub(crate) fn hint(unknown: &str, known: &[&str]) -> String {
    match nearest(unknown, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: `{}`", known.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not_offered() {
        assert_eq!(nearest("volumme", ["volume", "close"]), Some("volume"));
        assert_eq!(nearest("trasnform", ["transform", "sink"]), Some("transform"));
        assert_eq!(nearest("zebra", ["volume", "close"]), None);
    }
}
