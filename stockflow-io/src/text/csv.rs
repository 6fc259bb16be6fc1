//! CSV: a tolerant reader of records.
//!
//! RFC 4180 with any one-byte delimiter, LF or CRLF, quoted fields that may hold delimiters, line ends and doubled quotes.
//! It differs from the usual readers in what it does with damage: when a quote is never closed, or closed in the middle
//! of a field, or when a record over several lines has the wrong number of fields, only the line where it began is
//! refused, and reading goes on with the next line. A stray quote so costs one row and not the rest of the file.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};
use serde::{Deserialize, Serialize};

use super::MAX_RECORD;
use super::cell::{Cell, parse, shorten};
use super::fast::Lines;
use super::rows::{Rows, Shape};

/// How CSV files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CsvOptions {
    /// `None`: the one of comma, semicolon, tab and bar that the header has most of.
    pub(crate) delimiter: Option<u8>,
    /// Whether the first line names the columns; else they are `column_1`, `column_2`, ….
    pub(crate) header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: None, header: true }
    }
}

/// A field: its bytes within the buffer, and whether it holds doubled quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    start: usize,
    end: usize,
    escaped: bool,
}

impl Field {
    pub(crate) fn text<'a>(&self, buf: &'a [u8]) -> Option<Cow<'a, str>> {
        let text = std::str::from_utf8(&buf[self.start..self.end]).ok()?;
        Some(if self.escaped { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) })
    }
}

/// What stands at a place of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record that ends before `next` and is so many lines long.
    Record { next: usize, lines: u64 },
    /// The buffer ends within the record.
    Incomplete,
    /// A record whose quotes make no sense: its first line ends before `next`.
    Broken { next: usize, reason: &'static str },
    /// Nothing but a line end.
    Blank { next: usize },
}

/// Reads the record at `pos` into `fields`. `eof`: nothing comes after the buffer.
pub(crate) fn next_record(buf: &[u8], pos: usize, delimiter: u8, eof: bool, fields: &mut Vec<Field>) -> Step {
    fields.clear();
    let (line_end, next) = match memchr(b'\n', &buf[pos..]) {
        Some(offset) => (pos + offset, pos + offset + 1),
        None if eof => (buf.len(), buf.len()),
        None => return Step::Incomplete,
    };
    let content_end = if line_end > pos && buf[line_end - 1] == b'\r' { line_end - 1 } else { line_end };
    let line = &buf[pos..content_end];
    if line.iter().all(u8::is_ascii_whitespace) && !line.contains(&delimiter) {
        return Step::Blank { next };
    }
    if memchr(b'"', line).is_none() {
        let mut start = pos;
        for offset in memchr_iter(delimiter, line) {
            fields.push(Field { start, end: pos + offset, escaped: false });
            start = pos + offset + 1;
        }
        fields.push(Field { start, end: content_end, escaped: false });
        return Step::Record { next, lines: 1 };
    }
    quoted_record(buf, pos, delimiter, eof, next, fields)
}

fn quoted_record(buf: &[u8], pos: usize, delimiter: u8, eof: bool, first_line: usize, fields: &mut Vec<Field>) -> Step {
    let broken = |reason| Step::Broken { next: first_line, reason };
    let lines = |end: usize| memchr_iter(b'\n', &buf[pos..end]).count() as u64;
    let mut at = pos;
    loop {
        let after = if buf.get(at) == Some(&b'"') {
            let start = at + 1;
            let mut end = start;
            let mut escaped = false;
            loop {
                match memchr(b'"', &buf[end..]) {
                    None if !eof && buf.len() - pos < MAX_RECORD => return Step::Incomplete,
                    None => return broken("a quote is never closed"),
                    Some(offset) => end += offset,
                }
                match buf.get(end + 1) {
                    Some(b'"') => {
                        escaped = true;
                        end += 2;
                    }
                    None if !eof => return Step::Incomplete,
                    _ => break,
                }
            }
            fields.push(Field { start, end, escaped });
            end + 1
        } else {
            let end = memchr2(delimiter, b'\n', &buf[at..]).map_or(buf.len(), |offset| at + offset);
            if end == buf.len() && !eof {
                return Step::Incomplete;
            }
            let is_last = buf.get(end) != Some(&delimiter);
            let content = if is_last && end > at && buf[end - 1] == b'\r' { end - 1 } else { end };
            fields.push(Field { start: at, end: content, escaped: false });
            end
        };
        match (buf.get(after), buf.get(after + 1)) {
            (Some(byte), _) if *byte == delimiter => at = after + 1,
            (Some(b'\n'), _) => return Step::Record { next: after + 1, lines: lines(after + 1).max(1) },
            (Some(b'\r'), Some(b'\n')) => return Step::Record { next: after + 2, lines: lines(after + 2).max(1) },
            (None, _) if eof => return Step::Record { next: buf.len(), lines: lines(buf.len()).max(1) },
            (None, _) | (Some(b'\r'), None) if !eof => return Step::Incomplete,
            _ => return broken("there is text after a closing quote"),
        }
    }
}

/// How one file is laid out: its delimiter and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) delimiter: u8,
    /// Unique names, in the file's order.
    pub(crate) names: Vec<String>,
    /// Bytes and lines before the first row.
    pub(crate) skip: usize,
    pub(crate) lines: u64,
}

impl Layout {
    /// Reads the header; `None` if the buffer has no whole line yet, or no line at all at the end of the file.
    pub(crate) fn read(buf: &[u8], eof: bool, options: &CsvOptions) -> Result<Option<Self>, String> {
        let mut pos = 0;
        let mut before = 0;
        let mut fields = Vec::new();
        loop {
            if pos >= buf.len() {
                return Ok(None);
            }
            let line_end = memchr(b'\n', &buf[pos..]).map_or(buf.len(), |offset| pos + offset);
            let delimiter = options.delimiter.unwrap_or_else(|| sniff(&buf[pos..line_end]));
            let (next, lines) = match next_record(buf, pos, delimiter, eof, &mut fields) {
                Step::Record { next, lines } => (next, lines),
                Step::Incomplete => return Ok(None),
                Step::Broken { reason, .. } => return Err(format!("its header is broken: {reason}")),
                Step::Blank { next } => {
                    before += 1;
                    pos = next;
                    continue;
                }
            };
            let mut names = Vec::with_capacity(fields.len());
            for (idx, field) in fields.iter().enumerate() {
                let name = field.text(buf).ok_or("its header is not UTF-8 text")?;
                if name.contains('\r') {
                    return Err("its lines end with a bare carriage return; save it with LF or CRLF".into());
                }
                let name = if options.header { name.trim() } else { "" };
                names.push(if name.is_empty() { format!("column_{}", idx + 1) } else { name.to_owned() });
            }
            make_unique(&mut names);
            return Ok(Some(if options.header {
                Self { delimiter, names, skip: next, lines: before + lines }
            } else {
                Self { delimiter, names, skip: pos, lines: before }
            }));
        }
    }
}

fn sniff(header: &[u8]) -> u8 {
    let count = |delimiter: u8| {
        let mut quoted = false;
        header
            .iter()
            .filter(|&&byte| {
                quoted ^= byte == b'"';
                !quoted && byte == delimiter
            })
            .count()
    };
    let mut best = (b',', count(b','));
    for delimiter in [b';', b'\t', b'|'] {
        let n = count(delimiter);
        if n > best.1 {
            best = (delimiter, n);
        }
    }
    best.0
}

/// Case does not count, as in SQL: `Close` and `close` would be one.
fn make_unique(names: &mut [String]) {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let mut n = 2;
        let given = name.clone();
        while !seen.insert(name.to_lowercase()) {
            *name = format!("{given}_{n}");
            n += 1;
        }
    }
}

/// Reads the records of a buffer that begins at a record; gives the bytes and lines that were read.
pub(crate) fn parse_records(
    buf: &[u8],
    first_line: u64,
    eof: bool,
    layout: &Layout,
    shape: &Shape,
    rows: &mut Rows<'_>,
) -> (usize, u64) {
    parse_with(buf, first_line, eof, layout, shape, rows, true)
}

/// Without `fast` every line is read by the tolerant reader, with the same outcome.
fn parse_with(
    buf: &[u8],
    first_line: u64,
    eof: bool,
    layout: &Layout,
    shape: &Shape,
    rows: &mut Rows<'_>,
    fast: bool,
) -> (usize, u64) {
    let targets: Vec<_> = layout
        .names
        .iter()
        .map(|name| shape.find(name))
        .map(|idx| idx.and_then(|idx| Some((idx, super::cell::Kind::of(&shape.columns[idx].data_type)?))))
        .collect();
    let mut cells = vec![Cell::Null; shape.columns.len()];
    let mut fields = Vec::with_capacity(targets.len());
    let (mut pos, mut line) = (0, first_line);
    let ordinary = Lines::new(layout.delimiter, &targets, shape.columns.len()).filter(|_| fast);
    // Up to here no quote stands.
    let mut plain = 0;
    while pos < buf.len() {
        if let Some(ordinary) = &ordinary {
            if plain <= pos {
                plain = memchr(b'"', &buf[pos..]).map_or(buf.len(), |offset| pos + offset);
            }
            let (next, lines) = ordinary.read(&buf[..plain], pos, line, rows);
            (pos, line) = (next, line + lines);
            if pos >= buf.len() {
                break;
            }
        }
        let (next, lines) = match next_record(buf, pos, layout.delimiter, eof, &mut fields) {
            Step::Incomplete => break,
            Step::Blank { next } => (next, 1),
            Step::Broken { next, reason } => {
                rows.refuse(line, None, reason.into(), payload(&buf[pos..next]));
                (next, 1)
            }
            Step::Record { next, lines } if fields.len() == targets.len() => {
                cells.fill(Cell::Null);
                match read_cells(buf, &fields, &targets, layout, &mut cells) {
                    Ok(()) => rows.push(line, &mut cells),
                    Err(reason) => rows.refuse(line, symbol(shape, &cells), reason, payload(&buf[pos..next])),
                }
                (next, lines)
            }
            Step::Record { next, lines } => {
                let next_line = if lines > 1 {
                    pos + memchr(b'\n', &buf[pos..]).map_or(buf.len() - pos, |offset| offset + 1)
                } else {
                    next
                };
                let reason = match lines {
                    1 => format!("{} fields where the header has {}", fields.len(), targets.len()),
                    _ => "a quote is opened here that no field of this row closes".into(),
                };
                rows.refuse(line, None, reason, payload(&buf[pos..next_line]));
                (next_line, 1)
            }
        };
        pos = next;
        line += lines;
    }
    (pos, line - first_line)
}

fn read_cells<'a>(
    buf: &'a [u8],
    fields: &[Field],
    targets: &[Option<(usize, super::cell::Kind)>],
    layout: &Layout,
    cells: &mut [Cell<'a>],
) -> Result<(), String> {
    let mut first_error = None;
    for ((field, target), name) in fields.iter().zip(targets).zip(&layout.names) {
        let read = match (field.text(buf), target) {
            (None, _) => Err(format!("column `{name}` is not UTF-8 text")),
            (Some(_), None) => continue,
            (Some(Cow::Borrowed(text)), Some((idx, kind))) => {
                parse(text, *kind).map(|cell| cells[*idx] = cell).map_err(|error| format!("column `{name}`: {error}"))
            }
            (Some(Cow::Owned(text)), Some((idx, kind))) => match parse(&text, *kind) {
                Ok(Cell::Text(text)) => {
                    cells[*idx] = Cell::Owned(text.to_owned());
                    Ok(())
                }
                Ok(Cell::Null) => Ok(()),
                // A number with a quote in it is none.
                Ok(_) => Ok(()),
                Err(error) => Err(format!("column `{name}`: {error}")),
            },
        };
        if let Err(error) = read {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// The symbol of a row that was read in part.
pub(crate) fn symbol(shape: &Shape, cells: &[Cell<'_>]) -> Option<String> {
    match cells.get(shape.symbol()?)? {
        Cell::Text(text) => Some((*text).to_owned()),
        Cell::Owned(text) => Some(text.clone()),
        _ => None,
    }
}

/// Bytes of a row that a dead letter keeps; of a longer one it keeps the beginning.
pub(crate) const PAYLOAD: usize = 1 << 16;

/// A row's bytes as text for a dead letter.
pub(crate) fn payload(bytes: &[u8]) -> String {
    shorten(String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']), PAYLOAD)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(buf: &[u8], fields: &[Field]) -> Vec<String> {
        fields.iter().map(|field| field.text(buf).unwrap().into_owned()).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str], step: Step) {
        let mut fields = Vec::new();
        assert_eq!(next_record(text.as_bytes(), 0, b',', true, &mut fields), step, "{text:?}");
        assert_eq!(texts(text.as_bytes(), &fields), expected, "{text:?}");
    }

    #[test]
    fn reads_records() {
        let record = |next, lines| Step::Record { next, lines };
        check("a,b,c\n", &["a", "b", "c"], record(6, 1));
        check("a,,\r\nx", &["a", "", ""], record(5, 1));
        check("a,\"b\",c", &["a", "b", "c"], record(7, 1));
        check("\"a,1\",\"b \"\"x\"\"\"\r\n", &["a,1", "b \"x\""], record(17, 1));
        check("\"two\nlines\",b\nnext", &["two\nlines", "b"], record(14, 2));
        check("12\" pipe,b\n", &["12\" pipe", "b"], record(11, 1));
        check("\r\n", &[], Step::Blank { next: 2 });
        check("a\"b\",c\r\n", &["a\"b\"", "c"], record(8, 1));
    }

    #[test]
    fn broken_quotes_cost_one_line() {
        let mut fields = Vec::new();
        let mut step = |text: &str, eof| next_record(text.as_bytes(), 0, b',', eof, &mut fields);
        assert!(matches!(step("a,\"b\nc,d\n", true), Step::Broken { next: 5, reason: "a quote is never closed" }));
        assert_eq!(step("a,\"b\nc,d\n", false), Step::Incomplete);
        assert!(matches!(step("a,\"b\"x\nc\n", true), Step::Broken { next: 7, .. }));
        assert_eq!(step("a,\"b\"", false), Step::Incomplete);
        assert_eq!(step("a,b", false), Step::Incomplete);
    }

    #[test]
    fn any_buffer_end_is_incomplete_or_the_same_record() {
        let text = b"a,\"b\"\"\nc\",d\r\nrest";
        let mut fields = Vec::new();
        for end in 0..13 {
            let step = next_record(&text[..end], 0, b',', false, &mut fields);
            assert!(
                end == 0 || step == Step::Incomplete || step == Step::Record { next: 13, lines: 2 },
                "{end}: {step:?}"
            );
        }
    }

    #[test]
    fn headers_are_sniffed_and_unique() {
        let layout = |text: &str| Layout::read(text.as_bytes(), true, &CsvOptions::default()).unwrap().unwrap();
        assert_eq!(layout("Date;Open;\"a,b\"\n1").delimiter, b';');
        assert_eq!(layout("Date\tOpen\n").names, ["Date", "Open"]);
        assert_eq!(layout("\n a , A,,a\n").names, ["a", "A_2", "column_3", "a_3"]);
        assert_eq!(layout("\n a , A,,a\n").lines, 2);
        assert!(Layout::read(b"a\rb\r", true, &CsvOptions::default()).is_err());
        assert_eq!(Layout::read(b"", true, &CsvOptions::default()), Ok(None));
        let bare = CsvOptions { header: false, ..CsvOptions::default() };
        assert_eq!(
            Layout::read(b"1,2\n", true, &bare).unwrap().unwrap(),
            Layout { delimiter: b',', names: vec!["column_1".into(), "column_2".into()], skip: 0, lines: 0 }
        );
    }

    fn shape(wanted: &[usize]) -> Shape {
        use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let types = [
            ("symbol", DataType::Utf8),
            ("day", DataType::Date32),
            ("close", DataType::Float64),
            ("n", DataType::Int64),
            ("at", instant),
            ("flag", DataType::Boolean),
            ("absent", DataType::Float64),
        ];
        let own = [
            Field::new("source_file", DataType::Utf8, false),
            Field::new("source_line", DataType::Int64, false),
            Field::new("source_seq", DataType::Int64, false),
        ];
        let fields = types.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).chain(own);
        let schema = Schema::new(fields.collect::<Vec<_>>()).project(wanted).unwrap();
        let columns = types.map(|(name, data_type)| super::super::rows::Column { name: name.into(), data_type });
        Shape::new(columns.into(), wanted.to_vec(), schema.into())
    }

    /// What one reader makes of a text, printed; floats are printed so that each has its own text.
    fn outcome(
        text: &[u8],
        delimiter: u8,
        eof: bool,
        wanted: &[usize],
        fast: bool,
    ) -> (String, Vec<String>, (usize, u64)) {
        let shape = shape(wanted);
        let names = ["symbol", "other", "day", "close", "n", "at", "flag"].map(str::to_owned).to_vec();
        let layout = Layout { delimiter, names, skip: 0, lines: 0 };
        let mut rows = Rows::new(&shape, 4);
        let end = parse_with(text, 7, eof, &layout, &shape, &mut rows, fast);
        let rows = rows.finish().unwrap();
        let table: Vec<String> = rows.arrays.iter().map(|column| format!("{column:?}")).collect();
        let rejects = rows.rejects.iter().map(|reject| format!("{reject:?}")).collect();
        (format!("{} rows {:?}\n{}", rows.n, rows.lines, table.join("\n")), rejects, end)
    }

    const WANTED: &[&[usize]] = &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[2, 0], &[8], &[]];

    const CELLS: &[&str] = &[
        "",
        "A",
        "AAPL",
        "BRK.B",
        "a long name of sixteen and more bytes",
        "Zürich",
        "\u{1f600}",
        " x ",
        "N/A",
        "-",
        "2024-02-29",
        "2023-02-29",
        "2024-1-2",
        "0000-01-01",
        "9999-12-31",
        "1969-12-31",
        "1900-03-01",
        " 2024-01-02",
        "1",
        "-1",
        "+1",
        "007",
        "1.5",
        "-0",
        "-0.0",
        ".5",
        "5.",
        "1..5",
        "1.5.2",
        "12345678901234",
        "123456789012345",
        "1234567890123456",
        "0.1234567890123",
        "1.23456789012345678",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "1e5",
        "inf",
        "NaN",
        "1,050.25",
        "10,5",
        "1 ",
        "\t2",
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05.5",
        "true",
        "FALSE",
        "t\rx",
        "\"q\"",
        "\"q",
        "a\"b",
        "\"1.5\"",
        "\"a,b\"",
        "\"two\nlines\"",
        "\"\"\"\"",
    ];

    proptest::proptest! {
        /// The ordinary line is only a faster way to the same rows.
        #[test]
        fn fast_and_tolerant_reading_agree(
            lines in proptest::collection::vec(
                (
                    proptest::collection::vec((proptest::bool::weighted(0.2), 0..CELLS.len()), 7),
                    0u8..40,
                    proptest::sample::select(&["\n", "\n", "\n", "\r\n", "\r"][..]),
                ),
                0..30,
            ),
            delimiter in proptest::sample::select(&b",;\t|.-"[..]),
            wanted in proptest::sample::select(WANTED),
            cut in 0usize..40,
            eof in proptest::bool::ANY,
            broken in proptest::bool::weighted(0.1),
        ) {
            let ordinary = ["AAPL", "x", "2024-02-29", "190.1234", "42", "2024-01-02T03:04:05Z", "true"];
            let mut text = Vec::new();
            for (cells, kind, end) in &lines {
                let n = match kind { 0 => 0, 1 => 6, 2 => 1, _ => 7 };
                let cells: Vec<&str> = cells.iter().zip(ordinary).take(n)
                    .map(|((messy, cell), plain)| if *messy { CELLS[*cell] } else { plain }).collect();
                text.extend_from_slice(cells.join(&char::from(delimiter).to_string()).as_bytes());
                if *kind == 3 {
                    text.push(delimiter);
                }
                text.extend_from_slice(end.as_bytes());
            }
            if broken && !text.is_empty() {
                let at = cut * 7 % text.len();
                text[at] = 0xff;
            }
            text.truncate(text.len().saturating_sub(cut.saturating_sub(20)));
            let tolerant = outcome(&text, delimiter, eof, wanted, false);
            let fast = outcome(&text, delimiter, eof, wanted, true);
            proptest::prop_assert_eq!(fast, tolerant, "{:?}", String::from_utf8_lossy(&text));
        }

        /// Numbers are the nearest ones, to the last bit.
        #[test]
        fn numbers_are_exact(text in "-?[0-9]{1,17}(\\.[0-9]{0,17})?") {
            let shape = shape(&[2]);
            let layout = Layout { delimiter: b',', names: vec!["close".into()], skip: 0, lines: 0 };
            let mut rows = Rows::new(&shape, 1);
            parse_records(format!("{text}\n01234567890123456789\n").as_bytes(), 1, true, &layout, &shape, &mut rows);
            let column = rows.finish().unwrap().arrays[2].clone().unwrap();
            let value = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&column).value(0);
            proptest::prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}
