//! The table that the matrix prints.

use std::path::PathBuf;

use stockflow_core::testing::Findings;

use super::cell::Cell;

/// What came of a cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(super) source: &'static str,
    pub(super) sink: &'static str,
    pub(super) fault: String,
    /// Whether the fault struck where it should.
    pub(super) fired: bool,
    pub(super) lost: usize,
    pub(super) doubled: usize,
    /// Rows that the checkpoint said were out right after the fault, and that were not there.
    pub(super) ahead: usize,
    /// Rows with a wrong value, and epochs of which only a part was visible.
    pub(super) wrong: usize,
    /// Whether the dead letters are exactly the poisoned rows.
    pub(super) letters: bool,
    /// What is to be told of a cell that failed.
    pub(super) remarks: Vec<String>,
}

impl Line {
    pub(super) fn new(cell: &Cell, fault: impl Into<String>) -> Self {
        let (source, sink) = (cell.source.name(), cell.sink.name());
        Self { source, sink, fault: fault.into(), letters: true, ..Self::default() }
    }

    pub(super) fn is_good(&self) -> bool {
        let faults = self.lost + self.doubled + self.ahead + self.wrong;
        self.fired && faults == 0 && self.letters && self.remarks.is_empty()
    }

    /// Adds what the oracles say of bars and of dead letters: right after the fault, or at the end.
    pub(super) fn add(&mut self, when: &str, at_the_end: bool, bars: &Findings, letters: &Findings) {
        *(if at_the_end { &mut self.lost } else { &mut self.ahead }) += bars.lost.len();
        self.doubled += bars.doubled.len();
        self.wrong += bars.foreign.len() + bars.torn.len();
        self.letters &= letters.is_clean();
        for (what, findings) in [("bars", bars), ("dead letters", letters)] {
            if !findings.is_clean() {
                self.remarks.push(format!("{when}, {what}: {findings}"));
            }
        }
    }
}

/// Prints the lines, and keeps them where `scripts/test` finds them.
pub(super) fn print(name: &str, lines: &[Line]) {
    let mut text = format!(
        "{:<7} {:<16} {:<46} {:<6} {:>5} {:>8} {:>6} {:>6}  letters\n",
        "source", "sink", "fault", "fired", "lost", "doubled", "ahead", "wrong"
    );
    for line in lines {
        let word = |holds: bool, yes: &'static str, no: &'static str| if holds { yes } else { no };
        text += &format!(
            "{:<7} {:<16} {:<46} {:<6} {:>5} {:>8} {:>6} {:>6}  {}\n",
            line.source,
            line.sink,
            line.fault,
            word(line.fired, "yes", "NO"),
            line.lost,
            line.doubled,
            line.ahead,
            line.wrong,
            word(line.letters, "ok", "WRONG"),
        );
    }
    let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/crash-matrix"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.txt")), &text).unwrap();
    println!("{text}");
}

/// Fails with all that is wrong, cell by cell.
#[track_caller]
pub(super) fn check(lines: &[Line]) {
    let bad: Vec<String> = lines.iter().filter(|line| !line.is_good()).map(|line| format!("{line:#?}")).collect();
    assert!(bad.is_empty(), "{} of {} cells failed:\n{}", bad.len(), lines.len(), bad.join("\n"));
}
