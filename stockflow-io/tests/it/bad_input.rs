//! The table of bad input: what was bad, what came of it, and in which words. `bad_input.txt` lists what must be in it.

use std::fmt::Debug;
use std::path::PathBuf;

use stockflow_core::schema::DeadLetter;
use stockflow_core::sink::RefusedRow;
use stockflow_core::{Error, ErrorClass};

/// `connector: case`, one a line; `scripts/test` misses those that no test has met.
const CASES: &str = include_str!("bad_input.txt");

/// What a next step begins with.
const STEPS: [&str; 15] = [
    "add ", "alter ", "cast ", "check ", "choose ", "correct ", "create ", "grant ", "keep ", "leave ", "lower ",
    "make ", "run ", "set ", "write ",
];

/// So many characters of a sentence are printed, and of the place of a dead letter.
const PRINTED: (usize, usize) = (420, 60);

/// A row that was refused: by a source, or by a sink.
pub(crate) trait Letter: Debug {
    fn place(&self) -> String;
    fn reason(&self) -> &str;
    fn payload(&self) -> &str;
}

impl Letter for DeadLetter {
    fn place(&self) -> String {
        assert!(![&self.connector, &self.partition, &self.position].iter().any(|it| it.is_empty()), "{self:?}");
        format!("{} {}@{}", self.connector, self.partition, self.position)
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn payload(&self) -> &str {
        &self.payload
    }
}

impl Letter for RefusedRow {
    fn place(&self) -> String {
        let key: Vec<String> = self.key.iter().map(|(column, value)| format!("{column} {value}")).collect();
        key.join(", ")
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn payload(&self) -> &str {
        &self.payload
    }
}

/// An error must have a class, say where it was and what to do next, and hold no secret.
#[track_caller]
pub(crate) fn told(connector: &str, case: &str, error: &Error) {
    let sentence = error.chain().join(": ");
    let place = match error {
        Error::Schema { step, .. } => Some(step.clone()),
        other => other.origin().filter(|origin| origin.partition.is_some()).map(ToString::to_string),
    };
    assert!(place.is_some_and(|place| sentence.contains(&place)), "it does not say where: {sentence}");
    assert_ne!(error.class(), ErrorClass::Internal, "{sentence}");
    let mut clauses = sentence.split([';', ':', ',', '?']).map(|clause| clause.trim().trim_start_matches("or "));
    let is_step = |clause: &str| STEPS.iter().any(|step| clause.starts_with(step));
    assert!(clauses.any(is_step), "it does not say what to do: {sentence}");
    check_secrets(&format!("{sentence} {error:?}"));
    add(connector, case, &format!("error: {}", error.class()), &sentence);
}

/// A dead letter must say which row it is, hold it, and say why it was refused.
#[track_caller]
pub(crate) fn refused<L: Letter>(connector: &str, case: &str, letters: &[L]) {
    assert!(!letters.is_empty(), "{connector}, {case}: there is no dead letter");
    for letter in letters {
        let is_whole = [letter.place().as_str(), letter.reason(), letter.payload()].iter().all(|text| !text.is_empty());
        assert!(is_whole, "{letter:?}");
        check_secrets(&format!("{letter:?}"));
    }
    let first = &letters[0];
    add(connector, case, "dead letter", &format!("{}: {}", cut(&first.place(), PRINTED.1), first.reason()));
}

/// No password or key of a test server may be in it, nor the message of a panic.
#[track_caller]
fn check_secrets(text: &str) {
    let is_secret = |name: &str| {
        name.starts_with("STOCKFLOW_TEST_") && ["_PASSWORD", "_API_KEY"].iter().any(|end| name.ends_with(end))
    };
    for (name, value) in std::env::vars().filter(|(name, value)| is_secret(name) && !value.is_empty()) {
        assert!(!text.contains(&value), "{name} is in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

/// Prints a line, and keeps it where `scripts/test` finds it: in a file of its own, as tests run side by side.
#[track_caller]
fn add(connector: &str, case: &str, outcome: &str, sentence: &str) {
    let name = format!("{connector}: {case}");
    assert!(CASES.lines().any(|line| line == name), "`{name}` is not in bad_input.txt");
    let words = cut(&without_ids(sentence).split_whitespace().collect::<Vec<_>>().join(" "), PRINTED.0);
    let line = format!("{connector:<15}  {case:<35}  {outcome:<16}  {words}\n");
    let file: String = name.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bad-input"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{file}.txt")), &line).unwrap();
    println!("{line}");
}

/// Without the random half of the names that tests give to topics, tables and indices.
fn without_ids(text: &str) -> String {
    let piece = |piece: &str| match piece.trim_end_matches(|it: char| !it.is_ascii_hexdigit()) {
        id if id.len() == 32 => piece.replace(id, "…"),
        _ => piece.to_owned(),
    };
    text.split_inclusive(|it: char| !it.is_ascii_hexdigit()).map(piece).collect()
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
