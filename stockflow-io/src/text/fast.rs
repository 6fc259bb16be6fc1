//! The ordinary line of a CSV file, read without a detour.
//!
//! A line without quotes whose cells are plain numbers, dates and ASCII text goes straight into the columns. Whatever else a
//! cell holds is read by the tolerant [`parse`]; whatever else a line is (a quote, a wrong number of fields, a cell that does
//! not fit, nothing) is left to the tolerant reader of records. So both give the same rows, and only the time differs.

use memchr::memchr2;

use super::cell::{Cell, Kind, parse};
use super::rows::{Rows, Values};

/// Bytes that are looked at together.
const WIDE: usize = 16;

/// Powers of ten that Float64 holds exactly, as far as sixteen bytes have digits.
const POWERS: [f64; WIDE] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads lines of one layout.
#[derive(Debug)]
pub(crate) struct Lines {
    delimiter: u8,
    /// Column of the file -> column of the shape, and what its cells are.
    targets: Vec<Option<(usize, Kind)>>,
    /// Columns of the shape that the file does not have.
    absent: Vec<usize>,
}

/// The line is not an ordinary one.
struct Other;

impl Lines {
    /// `None` if the delimiter may stand in a number or a date.
    pub(crate) fn new(delimiter: u8, targets: &[Option<(usize, Kind)>], columns: usize) -> Option<Self> {
        let is_safe = delimiter.is_ascii_punctuation() && !matches!(delimiter, b'+' | b'-' | b'.' | b':' | b'"');
        let mut absent: Vec<usize> = (0..columns).collect();
        for (idx, _) in targets.iter().flatten() {
            absent.retain(|column| column != idx);
        }
        let is_unique = absent.len() + targets.iter().flatten().count() == columns;
        ((is_safe || delimiter == b'\t') && is_unique && !targets.is_empty()).then(|| Self {
            delimiter,
            targets: targets.to_vec(),
            absent,
        })
    }

    /// Reads ordinary lines from `pos` on, up to the first other one or the end; gives where it begins, and how many lines
    /// were read. There must be no quote in `buf`.
    pub(crate) fn read(&self, buf: &[u8], pos: usize, first_line: u64, rows: &mut Rows<'_>) -> (usize, u64) {
        let (mut pos, mut line) = (pos, first_line);
        while pos < buf.len() {
            match self.line(buf, pos, rows.values()) {
                Ok(next) => {
                    pos = next;
                    rows.added(line);
                    line += 1;
                }
                Err(Other) => {
                    rows.take_back();
                    break;
                }
            }
        }
        (pos, line - first_line)
    }

    fn line(&self, buf: &[u8], start: usize, columns: &mut [Values]) -> Result<usize, Other> {
        // It may be blank: not ours.
        if buf.get(start).is_none_or(|byte| byte.is_ascii_whitespace()) {
            return Err(Other);
        }
        let last = self.targets.len() - 1;
        let mut at = start;
        for (n, target) in self.targets.iter().enumerate() {
            let end = match target {
                None => text(buf, at, self.delimiter).or_else(|| self.other(buf, at, n == last, None, None)),
                Some((idx, kind)) => {
                    let column = columns.get_mut(*idx).ok_or(Other)?;
                    match self.cell(buf, at, n == last, *kind, column) {
                        Some(end) => Some(end),
                        None => self.other(buf, at, n == last, Some(*kind), Some(column)),
                    }
                }
            };
            let end = end.ok_or(Other)?;
            at = match buf.get(end) {
                Some(byte) if n < last && *byte == self.delimiter => end + 1,
                Some(b'\n') if n == last => end + 1,
                Some(b'\r') if n == last && buf.get(end + 1) == Some(&b'\n') => end + 2,
                _ => return Err(Other),
            };
        }
        for idx in &self.absent {
            columns.get_mut(*idx).ok_or(Other)?.push(Cell::Null);
        }
        Ok(at)
    }

    /// Reads a plain cell into its column; gives where it ends.
    fn cell(&self, buf: &[u8], at: usize, is_last: bool, kind: Kind, column: &mut Values) -> Option<usize> {
        match kind {
            Kind::Text => {
                let end = text(buf, at, self.delimiter)?;
                // The line's end may have two bytes.
                let end = if is_last && end > at && buf[end - 1] == b'\r' { end - 1 } else { end };
                if end == at {
                    return None;
                }
                column.push_ascii(buf, at, end);
                Some(end)
            }
            Kind::Number => {
                let number = digits(buf, at).filter(|number| self.is_end(buf, number.end))?;
                column.push_number(number.float());
                Some(number.end)
            }
            Kind::Integer => {
                let number = digits(buf, at).filter(|number| !number.has_point && self.is_end(buf, number.end))?;
                let value = number.mantissa as i64;
                column.push_integer(if number.is_negative { -value } else { value });
                Some(number.end)
            }
            Kind::Date => {
                column.push_date(date(buf, at).filter(|_| self.is_end(buf, at + 10))?);
                Some(at + 10)
            }
            Kind::Instant | Kind::Boolean => None,
        }
    }

    fn is_end(&self, buf: &[u8], at: usize) -> bool {
        buf.get(at).is_some_and(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'\r'))
    }

    /// Reads any cell into its column.
    fn other(
        &self,
        buf: &[u8],
        at: usize,
        is_last: bool,
        kind: Option<Kind>,
        column: Option<&mut Values>,
    ) -> Option<usize> {
        let end = at + memchr2(self.delimiter, b'\n', &buf[at..])?;
        let end = if is_last && end > at && buf[end] == b'\n' && buf[end - 1] == b'\r' { end - 1 } else { end };
        let text = std::str::from_utf8(&buf[at..end]).ok()?;
        if let (Some(kind), Some(column)) = (kind, column) {
            column.push(parse(text, kind).ok()?);
        }
        Some(end)
    }
}

fn word(buf: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*buf.get(at..)?.first_chunk()?))
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where a field of ASCII text ends: at a delimiter or a line's end.
fn text(buf: &[u8], at: usize, delimiter: u8) -> Option<usize> {
    let mut at = at;
    loop {
        let bytes = word(buf, at)?;
        // The lowest high bit marks the first zero byte.
        let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
        let ends = zeros(bytes ^ (ONES * u64::from(delimiter))) | zeros(bytes ^ (ONES * u64::from(b'\n')));
        // Also of text behind the field, which costs only time.
        if bytes & HIGH != 0 {
            return None;
        }
        if ends != 0 {
            return Some(at + (ends.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
}

/// A decimal number of at most fifteen digits.
pub(super) struct Digits {
    pub(super) mantissa: u64,
    /// Digits behind the point.
    scale: usize,
    pub(super) has_point: bool,
    pub(super) is_negative: bool,
    pub(super) end: usize,
}

impl Digits {
    /// Rounded once, so it is the nearest: both operands are exact.
    pub(super) fn float(&self) -> f64 {
        let value = self.mantissa as f64 / POWERS[self.scale & (WIDE - 1)];
        if self.is_negative { -value } else { value }
    }
}

/// Reads `-?[0-9]+(\.[0-9]*)?`; `None` if there is something else, it is longer, or the buffer ends too soon.
pub(super) fn digits(buf: &[u8], at: usize) -> Option<Digits> {
    let is_negative = *buf.get(at)? == b'-';
    let start = at + usize::from(is_negative);
    let bytes = u128::from_le_bytes(*buf.get(start..)?.first_chunk::<WIDE>()?);
    let values = bytes ^ u128::from_ne_bytes([b'0'; WIDE]);
    // The high bit of each byte that is no digit.
    let low = values & u128::from_ne_bytes([0x7f; WIDE]);
    let others = ((low + u128::from_ne_bytes([0x76; WIDE])) | values) & u128::from_ne_bytes([0x80; WIDE]);
    if others == 0 {
        return None;
    }
    let first = (others.trailing_zeros() / 8) as usize;
    let has_point = buf[start + first] == b'.';
    let (whole, len, n, scale) = if has_point {
        let rest = others & (others - 1);
        if rest == 0 {
            return None;
        }
        let len = (rest.trailing_zeros() / 8) as usize;
        // Without the point.
        let before = (1u128 << (8 * first)) - 1;
        ((values & before) | ((values >> 8) & !before), len, len - 1, len - 1 - first)
    } else {
        (values, first, first, 0)
    };
    if first == 0 {
        return None;
    }
    // The digits to the end of the sixteen bytes, zeros before them.
    let aligned = whole << (8 * (WIDE - n));
    let mantissa = eight(aligned as u64) * 100_000_000 + eight((aligned >> 64) as u64);
    Some(Digits { mantissa, scale, has_point, is_negative, end: start + len })
}

/// The number that eight digits are, the first in the lowest byte.
fn eight(digits: u64) -> u64 {
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

/// Days since 1970 of `2024-02-29`.
pub(super) fn date(buf: &[u8], at: usize) -> Option<i32> {
    let bytes: &[u8; 10] = buf.get(at..)?.first_chunk()?;
    let digit = |n: usize| Some(i32::from(bytes[n])).filter(|_| bytes[n].is_ascii_digit()).map(|byte| byte - 48);
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digit(0)? * 1000 + digit(1)? * 100 + digit(2)? * 10 + digit(3)?;
    let (month, day) = (digit(5)? * 10 + digit(6)?, digit(8)? * 10 + digit(9)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if year == 0 || !(1..=days).contains(&day) {
        return None;
    }
    // Years begin in March: the leap day is the last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some(days - 719_468)
}
