//! What a run did, for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use indicatif::{HumanBytes, HumanCount};
use stockflow_core::pipeline::{EpochReport, Note, NoteLevel, RunReport};

use super::table::{Align, Table};

/// Rows in all, and by symbol.
type Counts<'a> = (i64, BTreeMap<&'a str, i64>);

/// Warnings and dead letters that are printed in full; the rest is counted.
const SHOWN: usize = 20;

/// Epochs, sinks, refused rows, warnings, what was left out.
pub(crate) fn report(mut out: impl Write, it: &RunReport) -> io::Result<()> {
    if it.up_to_date && it.epochs.is_empty() {
        return writeln!(out, "nothing new ({:.1} s)", it.elapsed.as_secs_f64());
    }
    for epoch in &it.epochs {
        write_epoch(&mut out, epoch)?;
    }
    write_sinks(&mut out, it)?;
    write_warnings(&mut out, it)?;
    write_dead_letters(&mut out, it)?;
    write_left_out(&mut out, it)?;
    let end = if it.interrupted { "stopped as asked, with whole epochs only; run again to go on" } else { "done" };
    writeln!(out, "\n{end} in {:.1} s", it.elapsed.as_secs_f64())
}

fn write_epoch(out: &mut impl Write, epoch: &EpochReport) -> io::Result<()> {
    let read: u64 = epoch.read.values().sum();
    let resumed = if epoch.resumed { ", begun by an earlier run" } else { "" };
    write!(out, "epoch {} ({}{resumed}): {} rows read", epoch.epoch, epoch.kind, HumanCount(read))?;
    if let Some(changed) = epoch.changed {
        write!(out, ", {} new or corrected", HumanCount(changed))?;
    }
    if let Some(unchanged) = epoch.unchanged.filter(|rows| *rows > 0) {
        write!(out, ", {} known already", HumanCount(unchanged))?;
    }
    if !epoch.late_symbols.is_empty() {
        write!(out, "; computed again: {}", some(&epoch.late_symbols))?;
    }
    writeln!(out)
}

/// The first few names and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

fn write_sinks(out: &mut impl Write, it: &RunReport) -> io::Result<()> {
    struct Sum {
        relation: String,
        rows: u64,
        bytes: Option<u64>,
        guarantee: String,
        location: String,
    }
    let mut order: Vec<String> = Vec::new();
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for sink in it.epochs.iter().flat_map(|epoch| &epoch.sinks) {
        let sum = sums.entry(sink.sink.clone()).or_insert_with(|| {
            order.push(sink.sink.clone());
            Sum {
                relation: sink.relation.clone(),
                rows: 0,
                bytes: None,
                guarantee: sink.guarantee.to_string(),
                location: String::new(),
            }
        });
        sum.rows += sink.rows;
        sum.bytes = match (sum.bytes, sink.bytes) {
            (Some(before), Some(more)) => Some(before + more),
            (before, more) => before.or(more),
        };
        sum.location.clone_from(&sink.location);
    }
    writeln!(out)?;
    let mut table = Table::new(
        &mut *out,
        &[
            ("sink", Align::Left),
            ("takes", Align::Left),
            ("rows", Align::Right),
            ("bytes", Align::Right),
            ("guarantee", Align::Left),
            ("where", Align::Left),
        ],
    );
    for (name, sum) in order.iter().filter_map(|name| sums.get(name).map(|sum| (name, sum))) {
        let bytes = sum.bytes.map_or_else(String::new, |bytes| HumanBytes(bytes).to_string());
        table.row(vec![
            name.clone(),
            sum.relation.clone(),
            HumanCount(sum.rows).to_string(),
            bytes,
            sum.guarantee.clone(),
            sum.location.clone(),
        ])?;
    }
    table.finish().map(drop)
}

fn write_warnings(out: &mut impl Write, it: &RunReport) -> io::Result<()> {
    let counts: Vec<_> = it
        .epochs
        .iter()
        .flat_map(|epoch| &epoch.notes)
        .filter(|note| note.level == NoteLevel::Info && note.rows > 0)
        .collect();
    let mut by_kind: BTreeMap<(&str, &str), Counts<'_>> = BTreeMap::new();
    for note in counts {
        let sum = by_kind.entry((&note.step, &note.kind)).or_default();
        sum.0 += note.rows;
        if let Some(symbol) = &note.symbol {
            *sum.1.entry(symbol).or_default() += note.rows;
        }
    }
    if !by_kind.is_empty() {
        writeln!(out)?;
    }
    for ((step, kind), (rows, symbols)) in by_kind {
        let named: Vec<String> = symbols.iter().map(|(symbol, rows)| format!("{symbol} {rows}")).collect();
        let symbols = if named.is_empty() { String::new() } else { format!(": {}", some(&named)) };
        writeln!(out, "{step}: {kind}: {rows} rows{symbols}")?;
    }
    // What is said of many symbols is said once.
    let mut warnings: Vec<(&Note, Vec<String>)> = Vec::new();
    for note in it.warnings() {
        let symbol = note.symbol.clone();
        match warnings.iter_mut().find(|(first, _)| first.step == note.step && first.text == note.text) {
            Some((_, symbols)) => symbols.extend(symbol),
            None => warnings.push((note, symbol.into_iter().collect())),
        }
    }
    for (note, symbols) in warnings.iter().take(SHOWN) {
        let symbols = if symbols.is_empty() { String::new() } else { format!("{}: ", some(symbols)) };
        writeln!(out, "warning: {}: {symbols}{}", note.step, note.text)?;
    }
    if warnings.len() > SHOWN {
        writeln!(out, "warning: and {} more; `--json` has them all", warnings.len() - SHOWN)?;
    }
    Ok(())
}

fn write_dead_letters(out: &mut impl Write, it: &RunReport) -> io::Result<()> {
    if it.dead_letters() == 0 {
        return Ok(());
    }
    writeln!(out, "\n{} rows refused (dead letters); the first:", HumanCount(it.dead_letters()))?;
    for letter in it.epochs.iter().flat_map(|epoch| &epoch.first_dead_letters).take(SHOWN) {
        let symbol = letter.symbol.as_ref().map_or_else(String::new, |symbol| format!(" {symbol}"));
        writeln!(out, "  {} {}@{}{symbol}: {}", letter.connector, letter.partition, letter.position, letter.reason)?;
    }
    Ok(())
}

fn write_left_out(out: &mut impl Write, it: &RunReport) -> io::Result<()> {
    let left_out: Vec<_> = it.left_out().collect();
    if !left_out.is_empty() {
        writeln!(out, "\n{} partitions left out; the next run tries them again:", left_out.len())?;
    }
    for part in left_out.iter().take(SHOWN) {
        writeln!(out, "  {}: {}", part.partition, part.reason)?;
    }
    Ok(())
}
