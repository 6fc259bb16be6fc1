//! Extremes: for each row, how many rows ago the greatest or the least of a window was. Source: the part that TA-Lib's
//! `AROON` and `AROONOSC` share.
//!
//! The series is cut into blocks as long as the window. A window then is the end of one block and the start of the
//! next, so that the extremes of all ends (computed backwards) and of all starts (forwards) answer each row by one
//! comparison. The work does not depend on the window's length, and no branch depends on the prices.

/// The rows of a series together with those before that its windows still see.
#[derive(Debug)]
pub(crate) struct Extremes {
    /// Rows a window.
    window: usize,
    /// The last `window - 1` rows or fewer; while a piece is taken in, some of its rows behind them.
    tail: Vec<f64>,
    /// The extreme from each row to the end of its block, and its place.
    ends: Vec<(f64, f64)>,
}

impl Extremes {
    pub(crate) fn new(window: usize) -> Self {
        let window = window.max(1);
        Self { window, tail: Vec::new(), ends: Vec::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.tail.clear();
    }

    pub(crate) fn tail(&self) -> &[f64] {
        &self.tail
    }

    /// Goes on after these rows.
    pub(crate) fn load(&mut self, tail: &[f64]) -> Result<(), String> {
        if tail.len() >= self.window {
            return Err(format!("{} rows for a window of {}", tail.len(), self.window));
        }
        self.tail.clear();
        self.tail.extend_from_slice(tail);
        Ok(())
    }

    /// How many rows ago the latest extreme of each row's window was; anything while the window is not full.
    ///
    /// `sign` is 1 for the greatest, -1 for the least.
    pub(crate) fn run(&mut self, rows: &[f64], sign: f64, ages: &mut [f64]) {
        let n_joined = rows.len().min(self.window - 1);
        let n_tail = self.tail.len();
        if n_tail > 0 {
            self.tail.extend_from_slice(&rows[..n_joined]);
            let n_short = (self.window - 1).saturating_sub(n_tail).min(n_joined);
            windows(&self.tail, self.window, sign, &mut self.ends, &mut ages[n_short..n_joined]);
        }
        if rows.len() >= self.window {
            windows(rows, self.window, sign, &mut self.ends, &mut ages[self.window - 1..]);
        }
        if rows.len() >= self.window || n_tail == 0 {
            self.tail.clear();
            self.tail.extend_from_slice(&rows[rows.len() - n_joined..]);
        } else {
            let surplus = self.tail.len().saturating_sub(self.window - 1);
            self.tail.drain(..surplus);
        }
    }
}

/// The ages for all windows within the rows, the first of which begins with the first row.
fn windows(rows: &[f64], window: usize, sign: f64, ends: &mut Vec<(f64, f64)>, ages: &mut [f64]) {
    // For few windows the blocks are not worth their making.
    if ages.len() < 4 {
        for (rows, age) in rows.windows(window).zip(ages) {
            let mut best = (f64::NEG_INFINITY, 0.0);
            for (k, row) in rows.iter().enumerate() {
                let row = sign * row;
                best = if row >= best.0 { (row, k as f64) } else { best };
            }
            *age = (window - 1) as f64 - best.1;
        }
        return;
    }
    ends.resize(window, (0.0, 0.0));
    for (block, ages) in ages.chunks_mut(window).enumerate() {
        let at = block * window;
        // Backwards, so the later of two equal rows is met first and stays. Value and place are chosen by comparisons of
        // their own: a shared one would become a branch, which the prices make unpredictable.
        let (mut best, mut best_place) = (f64::NEG_INFINITY, 0.0);
        let mut place = (window - 1) as f64;
        for (row, end) in rows[at..at + window].iter().zip(&mut *ends).rev() {
            let row = sign * row;
            best_place = if row > best { place } else { best_place };
            best = if best > row { best } else { row };
            *end = (best, best_place);
            place -= 1.0;
        }
        let [first, rest @ ..] = ages else { return };
        *first = (window - 1) as f64 - best_place;
        // Forwards through the next block, whose rows are later and so win a tie.
        let (mut start, mut start_place) = (f64::NEG_INFINITY, 0.0);
        let mut place = window as f64;
        for ((row, end), age) in rows[at + window..].iter().zip(&ends[1..]).zip(rest) {
            let row = sign * row;
            start_place = if row >= start { place } else { start_place };
            start = if start > row { start } else { row };
            let latest = if start >= end.0 { start_place } else { end.1 };
            *age = place - latest;
            place += 1.0;
        }
    }
}
