//! Extremes: for each row, how recent the greatest of one series and the least of another are within a window, from 0
//! for its first row to 100 for its last.
//! Source: the part that TA-Lib's `AROON` and `AROONOSC` share.
//!
//! The series is cut into blocks as long as the window. A window then is the end of one block and the start of the
//! next, so that the extremes of all ends (computed backwards) and of all starts (forwards) answer each row by one
//! comparison. The work does not depend on the window's length, and no branch depends on the prices. Both series go
//! side by side, because each comparison waits for the one before it of the same series only.

use std::hint::select_unpredictable;

/// The rows before, as far as windows still see them.
#[derive(Debug)]
pub(crate) struct Extremes {
    /// Rows a window.
    window: usize,
    /// The last `window - 1` rows or fewer of each series; while a piece is taken in, some of its rows behind them.
    tails: [Vec<f64>; 2],
    /// The extremes from each row to the end of its block.
    ends: Vec<(Latest, Latest)>,
}

/// An extreme and its place. The least is kept as the greatest of the negatives.
#[derive(Debug, Clone, Copy)]
struct Latest {
    value: f64,
    place: f64,
}

const NONE: Latest = Latest { value: f64::NEG_INFINITY, place: 0.0 };

impl Latest {
    /// With one more row, which wins a tie.
    ///
    /// Value and place are chosen by comparisons of their own: a shared one would become a branch, which the prices make
    /// unpredictable.
    #[inline(always)]
    fn or_later(self, value: f64, place: f64) -> Self {
        Self {
            place: if value >= self.value { place } else { self.place },
            value: if self.value > value { self.value } else { value },
        }
    }

    /// With one more row, which loses a tie.
    #[inline(always)]
    fn or_earlier(self, value: f64, place: f64) -> Self {
        Self {
            place: if value > self.value { place } else { self.place },
            value: if self.value > value { self.value } else { value },
        }
    }
}

impl Extremes {
    pub(crate) fn new(window: usize) -> Self {
        Self { window: window.max(1), tails: [Vec::new(), Vec::new()], ends: Vec::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.tails.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn tails(&self) -> &[Vec<f64>; 2] {
        &self.tails
    }

    /// Goes on after these rows, fewer than a window.
    pub(crate) fn load(&mut self, tails: [&[f64]; 2]) {
        for (tail, rows) in self.tails.iter_mut().zip(tails) {
            tail.clear();
            tail.extend_from_slice(rows);
        }
    }

    /// How recent the greatest of the first series and the least of the second are; anything while the window is not
    /// full. The latest of equal rows counts.
    pub(crate) fn run(&mut self, rows: [&[f64]; 2], recency: [&mut [f64]; 2]) {
        let Self { window, tails, ends } = self;
        let (window, n, n_tail) = (*window, rows[0].len(), tails[0].len());
        let n_joined = n.min(window - 1);
        let [up, down] = recency;
        if n_tail > 0 {
            for (tail, rows) in tails.iter_mut().zip(rows) {
                tail.extend_from_slice(&rows[..n_joined]);
            }
            let n_short = (window - 1).saturating_sub(n_tail).min(n_joined);
            let [highs, lows] = &*tails;
            windows([highs, lows], window, ends, &mut up[n_short..n_joined], &mut down[n_short..n_joined]);
        }
        if n >= window {
            windows(rows, window, ends, &mut up[window - 1..], &mut down[window - 1..]);
        }
        for (tail, rows) in tails.iter_mut().zip(rows) {
            if n >= window || n_tail == 0 {
                tail.clear();
                tail.extend_from_slice(&rows[n - n_joined..]);
            } else {
                let surplus = tail.len().saturating_sub(window - 1);
                tail.drain(..surplus);
            }
        }
    }
}

/// The recency for all windows within the rows, the first of which begins with the first row.
fn windows(rows: [&[f64]; 2], window: usize, ends: &mut Vec<(Latest, Latest)>, up: &mut [f64], down: &mut [f64]) {
    let [highs, lows] = rows;
    let last = (window - 1) as f64;
    let percent = 100.0 / last;
    // For few windows the blocks are not worth their making.
    if up.len() < 4 {
        let bars = highs.windows(window).zip(lows.windows(window));
        for ((highs, lows), (up, down)) in bars.zip(up.iter_mut().zip(down)) {
            let (mut high, mut low, mut place) = (NONE, NONE, 0.0);
            for (row_high, row_low) in highs.iter().zip(lows) {
                high = high.or_later(*row_high, place);
                low = low.or_later(-*row_low, place);
                place += 1.0;
            }
            (*up, *down) = (percent * high.place, percent * low.place);
        }
        return;
    }
    ends.resize(window, (NONE, NONE));
    for (block, (up, down)) in up.chunks_mut(window).zip(down.chunks_mut(window)).enumerate() {
        let (Some((first_up, up)), Some((first_down, down))) = (up.split_first_mut(), down.split_first_mut()) else {
            return;
        };
        let (this, next) = (block * window, (block + 1) * window);
        let (mut high, mut low, mut place) = (NONE, NONE, last);
        let bars = highs[this..next].iter().zip(&lows[this..next]);
        for ((row_high, row_low), end) in bars.zip(&mut *ends).rev() {
            high = high.or_earlier(*row_high, place);
            low = low.or_earlier(-*row_low, place);
            *end = (high, low);
            place -= 1.0;
        }
        (*first_up, *first_down) = (percent * high.place, percent * low.place);
        let (mut high, mut low, mut place) = (NONE, NONE, last + 1.0);
        let bars = highs[next..].iter().zip(&lows[next..]).zip(&ends[1..]);
        for (((row_high, row_low), (end_high, end_low)), (up, down)) in bars.zip(up.iter_mut().zip(down)) {
            high = high.or_later(*row_high, place);
            low = low.or_later(-*row_low, place);
            let latest_high = select_unpredictable(high.value >= end_high.value, high.place, end_high.place);
            let latest_low = select_unpredictable(low.value >= end_low.value, low.place, end_low.place);
            *up = percent * (last - (place - latest_high));
            *down = percent * (last - (place - latest_low));
            place += 1.0;
        }
    }
}
