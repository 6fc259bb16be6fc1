//! Rows of the same bar made one.

use super::finality::next_first_day;
use super::rows::Row;
use stockflow_core::transform::Interval;

/// One row a bar. The rows come in the order of time; `is_live` says that the last is an appended latest price.
///
/// Of two rows the later one stands, unless it has no prices or is flat beside a full one. The last row of a week, a month or a
/// quarter that lies in the bar before it is the running day: it is added to that bar (the higher high, the lower low, its
/// close, the sum of the volumes), which is not final then. So is a latest price to a bar within the day that is still forming
/// (the larger of the volumes); a bar that is finished stays as it is.
pub(super) fn merge(rows: Vec<Row>, interval: Interval, is_live: bool) -> Vec<Row> {
    let n_rows = rows.len();
    let is_wide = !interval.is_intraday() && interval != Interval::DAY;
    let mut merged: Vec<Row> = Vec::with_capacity(n_rows);
    for (idx, row) in rows.into_iter().enumerate() {
        let is_last = idx + 1 == n_rows;
        let Some(before) = merged.last_mut() else {
            merged.push(row);
            continue;
        };
        let is_running =
            is_wide && is_last && next_first_day(before.date, interval).is_some_and(|next| row.date < next);
        if is_running && before.has_price() && row.has_price() {
            let is_final = before.is_final && row.is_final && !is_live;
            add(before, &row);
            before.is_final = is_final;
        } else if is_live && is_last && interval.is_intraday() && before.at == row.at && before.has_price() {
            if !before.is_final {
                let volume = either(before.volume, row.volume, f64::max);
                add(before, &row);
                before.volume = volume;
            }
        } else if is_running || is_same(before, &row, interval) {
            replace(before, row);
        } else {
            merged.push(row);
        }
    }
    merged
}

fn is_same(before: &Row, row: &Row, interval: Interval) -> bool {
    if interval.is_intraday() { before.at == row.at } else { before.date == row.date }
}

fn replace(before: &mut Row, row: Row) {
    let is_poorer = !row.has_price() || (row.is_flat() && !before.is_flat());
    if !(before.has_price() && is_poorer) {
        *before = row;
    }
}

fn either(a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (a, b) => a.or(b),
    }
}

fn add(before: &mut Row, row: &Row) {
    before.open = before.open.or(row.open);
    before.high = either(before.high, row.high, f64::max);
    before.low = either(before.low, row.low, f64::min);
    before.volume = either(before.volume, row.volume, |a, b| a + b);
    before.close = row.close.or(before.close);
    before.adj_close = row.adj_close.or(before.adj_close);
}
