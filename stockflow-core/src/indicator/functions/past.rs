//! Past: the last rows of some series, kept behind the rows that come. Source: none, it is the same for all windows.

use std::ops::Range;

use super::super::running::Saved;

/// The last `reach` rows, or fewer, of `N` series.
#[derive(Debug, Clone)]
pub(crate) struct Past<const N: usize> {
    reach: usize,
    /// More rows than the reach may lie in front: they are taken out now and then, not with each row.
    rows: [Vec<f64>; N],
}

impl<const N: usize> Past<N> {
    pub(crate) fn new(reach: usize) -> Self {
        Self { reach, rows: std::array::from_fn(|_| Vec::new()) }
    }

    pub(crate) fn reset(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
    }

    /// How many rows it knows, at most the reach.
    pub(crate) fn known(&self) -> usize {
        self.rows.first().map_or(0, Vec::len).min(self.reach)
    }

    /// Hands the new rows on together with those before them, in one part or two.
    ///
    /// A part is told how many of its rows are known ones, which it begins with, and where among the new rows the
    /// others stand. Fewer known rows than the reach are all rows that there ever were.
    #[inline(always)]
    pub(crate) fn feed(&mut self, new: [&[f64]; N], mut each: impl FnMut(usize, [&[f64]; N], Range<usize>)) {
        let n = new.first().map_or(0, |it| it.len());
        let known = self.known();
        let joined = if known == 0 { 0 } else { n.min(self.reach) };
        if joined > 0 {
            for (rows, new) in self.rows.iter_mut().zip(new) {
                rows.extend_from_slice(&new[..joined]);
            }
            each(known, self.rows.each_ref().map(|it| &it[it.len() - joined - known..]), 0..joined);
        }
        if n > joined {
            each(joined, new, joined..n);
        }
        for (rows, new) in self.rows.iter_mut().zip(new) {
            if n >= self.reach {
                rows.clear();
                rows.extend_from_slice(&new[n - self.reach..]);
            } else if joined == 0 {
                rows.extend_from_slice(new);
            } else if rows.len() > 2 * self.reach + 64 {
                rows.drain(..rows.len() - self.reach);
            }
        }
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        let known = self.known();
        state.push(known as f64);
        for rows in &self.rows {
            state.extend_from_slice(&rows[rows.len() - known..]);
        }
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let known = saved.count(self.reach)?;
        for rows in &mut self.rows {
            rows.clear();
            rows.extend_from_slice(saved.numbers(known)?);
        }
        Ok(())
    }
}

/// Room for `n` values, which holds anything.
pub(crate) fn room(scratch: &mut Vec<f64>, n: usize) -> &mut [f64] {
    if scratch.len() < n {
        scratch.resize(n, 0.0);
    }
    &mut scratch[..n]
}
