//! Aligned columns that stream: widths are taken from the first rows, later ones may stick out.

use std::io::{self, Write};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;

/// Rows that are held back to find the widths.
const LOOKAHEAD: usize = 500;

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Writes rows as aligned columns.
pub(crate) struct Table<W: Write> {
    out: W,
    header: Vec<String>,
    align: Vec<Align>,
    widths: Vec<usize>,
    held: Vec<Vec<String>>,
    started: bool,
}

impl<W: Write> Table<W> {
    /// A table with these columns.
    pub(crate) fn new(out: W, columns: &[(&str, Align)]) -> Self {
        let header: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths = header.iter().map(|name| width(name)).collect();
        Self {
            out,
            header,
            align: columns.iter().map(|(_, align)| *align).collect(),
            widths,
            held: Vec::new(),
            started: false,
        }
    }

    /// A table with the columns of a schema, numbers to the right.
    pub(crate) fn of_schema(out: W, schema: &SchemaRef) -> Self {
        let align = |data_type: &DataType| if data_type.is_numeric() { Align::Right } else { Align::Left };
        let columns: Vec<(&str, Align)> =
            schema.fields().iter().map(|field| (field.name().as_str(), align(field.data_type()))).collect();
        Self::new(out, &columns)
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) -> io::Result<()> {
        if self.started {
            return self.write(&cells);
        }
        for (idx, cell) in cells.iter().enumerate() {
            if let Some(widest) = self.widths.get_mut(idx) {
                *widest = (*widest).max(width(cell));
            }
        }
        self.held.push(cells);
        if self.held.len() >= LOOKAHEAD { self.start() } else { Ok(()) }
    }

    /// Adds the rows of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let options = FormatOptions::default().with_null("").with_display_error(true);
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string()).collect();
            self.row(cells)?;
        }
        Ok(())
    }

    /// Writes what is held back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.started {
            self.start()?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn start(&mut self) -> io::Result<()> {
        self.started = true;
        let header = std::mem::take(&mut self.header);
        self.write(&header)?;
        let rule: Vec<String> = self.widths.iter().map(|width| "-".repeat(*width)).collect();
        self.write(&rule)?;
        for cells in std::mem::take(&mut self.held) {
            self.write(&cells)?;
        }
        Ok(())
    }

    fn write(&mut self, cells: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for (idx, cell) in cells.iter().enumerate() {
            let cell = one_line(cell);
            let blanks = " ".repeat(self.widths.get(idx).map_or(0, |wanted| wanted.saturating_sub(width(&cell))));
            let gap = if idx == 0 { "" } else { "  " };
            match self.align.get(idx) {
                Some(Align::Right) => line.extend([gap, &blanks, &cell]),
                _ => line.extend([gap, &cell, &blanks]),
            }
        }
        writeln!(self.out, "{}", line.trim_end())
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Control characters would break the columns, or drive the terminal.
fn one_line(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(Vec::new(), &[("symbol", Align::Left), ("rows", Align::Right)]);
        table.row(vec!["AAPL".into(), "3270".into()]).unwrap();
        table.row(vec!["F\u{1b}[2J".into(), "1".into()]).unwrap();
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        assert_eq!(text, "symbol  rows\n------  ----\nAAPL    3270\nF [2J      1\n");
    }

    #[test]
    fn later_rows_stream_with_the_widths_of_the_first() {
        let mut table = Table::new(Vec::new(), &[("n", Align::Right)]);
        for n in 0..LOOKAHEAD {
            table.row(vec![n.to_string()]).unwrap();
        }
        table.row(vec!["123456".into()]).unwrap();
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        assert!(text.ends_with("499\n123456\n"), "{text}");
        assert_eq!(text.lines().count(), LOOKAHEAD + 3);
    }
}
