//! An oracle: it knows every row that was sent, and says what became of each.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;

use crate::error::{Error, Result};
use crate::relation::RelationSchema;
use crate::sink::WriteMode;

/// Knows every row that was sent, and compares what a reader sees with it: every column, by key.
///
/// A test that counts rows sees neither one that is lost where another is there twice, nor a value that is wrong.
///
/// Rows are sent in parts, a part being what becomes visible together at the most (an input for one epoch). Each row has a
/// place in its source, by which a checkpoint says whether it is out.
///
/// # Example
///
/// ```
/// use stockflow_core::sink::WriteMode;
/// use stockflow_core::testing::{Oracle, bars, bars_relation};
///
/// let (first, second) = (bars("AAA", &[(0, 1.0)], 1)?, bars("AAA", &[(1, 2.0)], 1)?);
/// let mut oracle = Oracle::new(bars_relation());
/// oracle.sent(1, "AAA", 0, &first)?;
/// oracle.sent(2, "AAA", 1, &second)?;
/// let all = |_: &str, _: i64| true;
/// let findings = oracle.judge(WriteMode::Append, &[first.clone(), first], all)?;
/// assert_eq!((findings.lost.len(), findings.doubled.len()), (1, 1));
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Oracle {
    relation: RelationSchema,
    sent: Vec<Sent>,
}

/// A row with the place where it was sent.
#[derive(Debug, Clone)]
struct Sent {
    part: u32,
    partition: String,
    position: i64,
    row: Row,
}

/// A row as it is compared.
#[derive(Debug, Clone)]
struct Row {
    key: String,
    version: Option<ScalarValue>,
    /// All columns as text.
    line: String,
}

/// What an oracle has found, row by row as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rows that should be there and are not, or of which an older version is.
    pub lost: Vec<String>,
    /// Rows that are there more often than they should.
    pub doubled: Vec<String>,
    /// Rows that nobody has sent: of an unknown key, or with a wrong value.
    pub foreign: Vec<String>,
    /// Parts of which only some rows are visible, although the checkpoint is not behind them yet.
    pub torn: Vec<String>,
}

impl Findings {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("lost", &self.lost), ("doubled", &self.doubled), ("foreign", &self.foreign), ("torn", &self.torn)];
        for (kind, rows) in kinds {
            write!(f, "{kind}: {}", rows.len())?;
            if let Some(first) = rows.first() {
                write!(f, " (the first: {first})")?;
            }
            f.write_str("; ")?;
        }
        Ok(())
    }
}

impl Oracle {
    /// An oracle for rows of a relation. Its columns are compared; a reader may give others besides.
    pub fn new(relation: RelationSchema) -> Self {
        Self { relation, sent: Vec::new() }
    }

    /// Remembers rows that stand in a partition of the source one after the other, from `position` on.
    ///
    /// Of rows of equal key and version the later one of a part counts, and of several parts the first.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if a column of the relation is missing.
    pub fn sent(&mut self, part: u32, partition: &str, position: i64, rows: &RecordBatch) -> Result<()> {
        for (row, position) in self.rows(rows)?.into_iter().zip(position..) {
            self.sent.push(Sent { part, partition: partition.into(), position, row });
        }
        Ok(())
    }

    /// The number of rows that were sent.
    pub fn n_rows(&self) -> usize {
        self.sent.len()
    }

    /// Compares what a reader sees with what was sent.
    ///
    /// `is_out` says by partition and position whether a row must be visible by now: the checkpoint is behind it. Other rows may
    /// be visible, but only all of a part or none.
    ///
    /// A sink that overwrites shows the last part only: ask an oracle that knows no other.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if the reader does not give a column of the relation.
    pub fn judge(&self, mode: WriteMode, seen: &[RecordBatch], is_out: impl Fn(&str, i64) -> bool) -> Result<Findings> {
        let mut rows = Vec::new();
        for batch in seen {
            rows.extend(self.rows(batch)?);
        }
        let is_out: Vec<bool> = self.sent.iter().map(|sent| is_out(&sent.partition, sent.position)).collect();
        let sent: Vec<(&Sent, bool)> = self.sent.iter().zip(is_out).collect();
        Ok(match mode {
            WriteMode::Merge => merged(&sent, &rows),
            WriteMode::Append | WriteMode::Overwrite => appended(&sent, &rows),
        })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Vec<Row>> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::schema("oracle", format!("there is no column `{name}`")))
        };
        let options = FormatOptions::default().with_null("NULL");
        let mut columns = Vec::new();
        for field in self.relation.schema.fields() {
            let name = field.name().as_str();
            let is_key = self.relation.key.iter().any(|key| key == name);
            columns.push((name, is_key, ArrayFormatter::try_new(column(name)?.as_ref(), &options)?));
        }
        let version = self.relation.version.as_deref().map(column).transpose()?;
        let row = |idx: usize| {
            let (mut key, mut line) = (Vec::new(), Vec::new());
            for (name, is_key, values) in &columns {
                let cell = format!("{name}={}", values.value(idx).try_to_string()?);
                if *is_key {
                    key.push(cell.clone());
                }
                line.push(cell);
            }
            let version = version.map(|version| ScalarValue::try_from_array(version, idx)).transpose()?;
            Ok(Row { key: key.join(" "), version, line: line.join(" ") })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

/// The row that counts of those of one key, which come as they were sent.
fn newest<'s>(sent: impl Iterator<Item = &'s Sent>) -> Option<&'s str> {
    let newest = sent.reduce(|newest, sent| if replaces(sent, newest) { sent } else { newest });
    newest.map(|sent| sent.row.line.as_str())
}

/// Whether a row replaces one that was sent before it.
fn replaces(row: &Sent, other: &Sent) -> bool {
    match (&row.row.version, &other.row.version) {
        (Some(version), Some(known)) => match version.partial_cmp(known) {
            Some(Ordering::Equal) => row.part == other.part,
            order => order == Some(Ordering::Greater),
        },
        _ => true,
    }
}

/// Every row as often as it was sent.
fn appended(sent: &[(&Sent, bool)], seen: &[Row]) -> Findings {
    #[derive(Default)]
    struct Count {
        required: usize,
        allowed: usize,
        seen: usize,
    }
    let mut findings = Findings::default();
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for (sent, is_out) in sent {
        let count = counts.entry(&sent.row.line).or_default();
        count.allowed += 1;
        count.required += usize::from(*is_out);
    }
    for row in seen {
        match counts.get_mut(row.line.as_str()) {
            Some(count) => count.seen += 1,
            None => findings.foreign.push(row.line.clone()),
        }
    }
    let mut parts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (sent, _) in sent.iter().filter(|(_, is_out)| !is_out) {
        let is_seen = counts.get(sent.row.line.as_str()).is_some_and(|count| count.seen > count.required);
        let part = parts.entry(sent.part).or_default();
        *part = (part.0 + usize::from(is_seen), part.1 + 1);
    }
    for (line, count) in counts {
        let times = |n: usize| std::iter::repeat_n(line.to_owned(), n);
        findings.lost.extend(times(count.required.saturating_sub(count.seen)));
        findings.doubled.extend(times(count.seen.saturating_sub(count.allowed)));
    }
    findings.torn = torn(&parts);
    findings
}

/// One row a key: the newest version.
fn merged(sent: &[(&Sent, bool)], seen: &[Row]) -> Findings {
    let mut findings = Findings::default();
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in seen {
        rows.entry(&row.key).or_default().push(&row.line);
    }
    let mut keys: BTreeMap<&str, Vec<&(&Sent, bool)>> = BTreeMap::new();
    for one in sent {
        keys.entry(&one.0.row.key).or_default().push(one);
    }
    let mut parts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (key, of_key) in keys {
        let seen = rows.remove(key).unwrap_or_default();
        let required = newest(of_key.iter().filter(|(_, is_out)| *is_out).map(|(sent, _)| *sent));
        // What each part that is not out yet would make of it.
        let mut waiting: Vec<u32> = of_key.iter().filter(|(_, is_out)| !is_out).map(|(sent, _)| sent.part).collect();
        waiting.dedup();
        let mut allowed = Vec::new();
        for part in waiting {
            let upto = of_key.iter().filter(|(sent, is_out)| *is_out || sent.part == part).map(|(sent, _)| *sent);
            if let Some(line) = newest(upto).filter(|line| Some(*line) != required) {
                let part = parts.entry(part).or_default();
                *part = (part.0 + usize::from(seen.contains(&line)), part.1 + 1);
                allowed.push(line);
            }
        }
        findings.doubled.extend(seen.iter().skip(1).map(|line| (*line).to_owned()));
        match (seen.first().copied(), required) {
            (None, None) => {}
            (None, Some(required)) => findings.lost.push(required.to_owned()),
            (line, required) if line == required => {}
            (Some(line), _) if allowed.contains(&line) => {}
            (Some(line), required) => {
                let is_older = of_key.iter().any(|(sent, is_out)| *is_out && sent.row.line == line);
                match required.filter(|_| is_older) {
                    Some(required) => findings.lost.push(required.to_owned()),
                    None => findings.foreign.push(line.to_owned()),
                }
            }
        }
    }
    findings.foreign.extend(rows.into_values().flatten().map(str::to_owned));
    findings.torn = torn(&parts);
    findings
}

/// The parts of which some rows are visible, but not all.
fn torn(parts: &BTreeMap<u32, (usize, usize)>) -> Vec<String> {
    let torn = parts.iter().filter(|(_, (seen, all))| *seen > 0 && seen < all);
    torn.map(|(part, (seen, all))| format!("part {part}: {seen} of {all} rows are visible")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bars, bars_relation};

    fn batch(closes: &[(i32, f64)], as_of: i64) -> RecordBatch {
        bars("AAA", closes, as_of).unwrap()
    }

    /// Two rows; then a new one, a correction, and one that is older than what is known.
    fn oracle() -> Oracle {
        let mut oracle = Oracle::new(bars_relation());
        oracle.sent(1, "p", 0, &batch(&[(0, 1.0), (1, 2.0)], 5)).unwrap();
        oracle.sent(2, "p", 2, &batch(&[(2, 3.0), (1, 2.5)], 6)).unwrap();
        oracle.sent(2, "p", 4, &batch(&[(0, 9.0)], 4)).unwrap();
        oracle
    }

    /// What is found by kind, with everything before `end` out.
    #[track_caller]
    fn check(mode: WriteMode, end: i64, seen: &[(&[(i32, f64)], i64)], expected: [usize; 4]) {
        let seen: Vec<RecordBatch> = seen.iter().map(|(closes, as_of)| batch(closes, *as_of)).collect();
        let found = oracle().judge(mode, &seen, |_, position| position < end).unwrap();
        let counts = [&found.lost, &found.doubled, &found.foreign, &found.torn].map(Vec::len);
        assert_eq!(counts, expected, "{found}");
        assert_eq!(found.is_clean(), expected == [0; 4]);
    }

    const ALL: i64 = 5;

    #[test]
    fn rows_that_are_appended_are_there_as_often_as_they_were_sent() {
        let (first, second, old): (&[_], &[_], &[_]) = (&[(0, 1.0), (1, 2.0)], &[(2, 3.0), (1, 2.5)], &[(0, 9.0)]);
        let check = |end, seen: &[(&[(i32, f64)], i64)], expected| check(WriteMode::Append, end, seen, expected);
        check(ALL, &[(first, 5), (second, 6), (old, 4)], [0, 0, 0, 0]);
        check(ALL, &[(first, 5), (old, 4)], [2, 0, 0, 0]);
        check(ALL, &[(first, 5), (second, 6), (second, 6), (old, 4)], [0, 2, 0, 0]);
        // One is lost and another there twice: the number is right.
        check(ALL, &[(&[(0, 1.0), (0, 1.0)], 5), (second, 6), (old, 4)], [1, 1, 0, 0]);
        check(ALL, &[(&[(0, 1.0), (1, 2.1)], 5), (second, 6), (old, 4)], [1, 0, 1, 0]);
        // The same values, learned at another time.
        check(ALL, &[(first, 7), (second, 6), (old, 4)], [2, 0, 2, 0]);
        // The second part is on its way: all of it or nothing may be seen.
        check(2, &[(first, 5)], [0, 0, 0, 0]);
        check(2, &[(first, 5), (second, 6), (old, 4)], [0, 0, 0, 0]);
        check(2, &[(first, 5), (second, 6)], [0, 0, 0, 1]);
        check(2, &[], [2, 0, 0, 0]);
    }

    #[test]
    fn of_rows_that_are_merged_the_newest_is_there_once() {
        let check = |end, seen: &[(&[(i32, f64)], i64)], expected| check(WriteMode::Merge, end, seen, expected);
        let (kept, new): (&[_], &[_]) = (&[(0, 1.0)], &[(1, 2.5), (2, 3.0)]);
        check(ALL, &[(kept, 5), (new, 6)], [0, 0, 0, 0]);
        check(ALL, &[(kept, 5), (&[(1, 2.0)], 5), (&[(2, 3.0)], 6)], [1, 0, 0, 0]);
        check(ALL, &[(&[(0, 9.0)], 4), (new, 6)], [1, 0, 0, 0]);
        check(ALL, &[(kept, 5), (kept, 5), (new, 6)], [0, 1, 0, 0]);
        check(ALL, &[(kept, 5), (new, 6), (&[(3, 1.0)], 6)], [0, 0, 1, 0]);
        check(ALL, &[(&[(0, 1.5)], 5), (new, 6)], [0, 0, 1, 0]);
        check(2, &[(&[(0, 1.0), (1, 2.0)], 5)], [0, 0, 0, 0]);
        check(2, &[(kept, 5), (new, 6)], [0, 0, 0, 0]);
        check(2, &[(kept, 5), (&[(1, 2.5)], 6)], [0, 0, 0, 1]);
        check(2, &[(new, 6)], [1, 0, 0, 0]);
    }
}
