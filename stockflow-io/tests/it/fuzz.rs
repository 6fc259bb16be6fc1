//! The fuzz targets without a fuzzer: each file of `fuzz/corpus`, and thousands made of them by changes that are the same in
//! every run. `scripts/fuzz` looks further.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod targets;

/// What a byte is never changed into by chance.
const WORDS: [&str; 22] = [
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-1",
    "1.5",
    "1e308",
    "-0",
    "NaN",
    "\"Infinity\"",
    "99999999999999999999",
    "-9223372036854775808",
    "\"9\"",
    ",",
    ":",
    "\r\n",
    "\u{feff}",
    "é",
    "{\"raw\":1}",
    "2024-03-10 02:30:00",
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(fuzz().join(folder)).unwrap();
    entries.map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The corpus of a target, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Word(Index, &'static str),
    Digits(Index, String),
    Remove(Index, usize),
    Repeat(Index, usize),
    CutOff(Index),
}

impl Change {
    fn any() -> impl Strategy<Value = Change> {
        let place = any::<Index>;
        prop_oneof![
            (place(), any::<u8>()).prop_map(|(at, byte)| Self::Byte(at, byte)),
            (place(), proptest::sample::select(&WORDS[..])).prop_map(|(at, word)| Self::Word(at, word)),
            (place(), "-?[0-9]{1,20}(\\.[0-9]{1,3})?").prop_map(|(at, digits)| Self::Digits(at, digits)),
            (place(), 1_usize..40).prop_map(|(at, length)| Self::Remove(at, length)),
            (place(), 1_usize..40).prop_map(|(at, length)| Self::Repeat(at, length)),
            place().prop_map(Self::CutOff),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let n = bytes.len();
        let end = |at: usize, length: &usize| (at + length).min(n);
        match self {
            _ if n == 0 => {}
            Self::Byte(at, byte) => {
                let at = at.index(n);
                bytes[at] = *byte;
            }
            Self::Word(at, word) => {
                let at = at.index(n);
                bytes.splice(at..at, word.bytes());
            }
            // In the place of a number, so that it stays JSON.
            Self::Digits(at, digits) => {
                let at = at.index(n);
                let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|it| it + at) else { return };
                let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(start..start + length, digits.bytes());
            }
            Self::Remove(at, length) => {
                let at = at.index(n);
                bytes.drain(at..end(at, length));
            }
            Self::Repeat(at, length) => {
                let at = at.index(n);
                let again = bytes[at..end(at, length)].to_vec();
                bytes.splice(at..at, again);
            }
            Self::CutOff(at) => bytes.truncate(at.index(n)),
        }
    }
}

#[track_caller]
fn check(name: &str) {
    let target = targets::TARGETS.iter().find(|(it, _)| *it == name).unwrap().1;
    let corpus = corpus(name);
    corpus.iter().for_each(|bytes| target(bytes));
    let config =
        ProptestConfig { rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::with_cases(2000) };
    let inputs = (proptest::sample::select(corpus), proptest::collection::vec(Change::any(), 1..6));
    let held = TestRunner::new(config).run(&inputs, |(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes));
        target(&bytes);
        Ok(())
    });
    held.unwrap();
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_target_has_a_program_a_corpus_and_a_test() {
            let known: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(known, BTreeSet::from([$(stringify!($name).to_owned()),*]));
            assert_eq!((names("fuzz_targets"), names("corpus")), (known.clone(), known.clone()));
            let bytes: usize = known.iter().flat_map(|it| corpus(it)).map(|it| it.len()).sum();
            assert!(bytes < 32_000, "a corpus of {bytes} bytes is not small");
        }
    };
}

targets! { alpha_vantage chart crumb error holders insights quote recording search spellings stooq }
