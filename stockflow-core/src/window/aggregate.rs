//! SQL's own aggregates over the last rows of a series, with the meaning that DataFusion gives them.
//!
//! NULL is left out, and an empty frame gives NULL (0 for a count). A NaN stays in a running sum for ever, as it does
//! there.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

/// The aggregates over Float64, and counts over anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateKind {
    Avg,
    Sum,
    Min,
    Max,
    Count,
    CountRows,
    StddevSample,
    StddevPopulation,
}

impl AggregateKind {
    /// The aggregate of this name, if it reads Float64 and gives what we give.
    pub(super) fn of(name: &str, inputs: &[Arc<dyn PhysicalExpr>], output: &DataType) -> Option<Self> {
        let kind = match name {
            "avg" | "mean" => Self::Avg,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => {
                let [input] = inputs else { return None };
                let literal = input.downcast_ref::<Literal>();
                return (*output == DataType::Int64).then_some(match literal {
                    Some(literal) if literal.value().is_null() => return None,
                    Some(_) => Self::CountRows,
                    None => Self::Count,
                });
            }
            "stddev" | "stddev_samp" => Self::StddevSample,
            "stddev_pop" => Self::StddevPopulation,
            _ => return None,
        };
        (inputs.len() == 1 && *output == DataType::Float64).then_some(kind)
    }

    pub(super) fn is_count(self) -> bool {
        matches!(self, Self::Count | Self::CountRows)
    }
}

/// One aggregate over one series, as far as it has come.
#[derive(Debug)]
pub(super) struct RunningAggregate {
    kind: AggregateKind,
    /// Rows before the current one that belong to the frame; `None` is all of them.
    rows: Option<usize>,
    /// The frame's rows, oldest first; NaN bits do not matter where the flag says NULL.
    frame: VecDeque<(f64, bool)>,
    /// Values in the frame.
    n: u64,
    sum: f64,
    /// Welford's mean and sum of squared deviations.
    mean: f64,
    m2: f64,
    /// Candidates for the extreme, best first, with the number of their row.
    best: VecDeque<(u64, f64)>,
    /// Rows so far.
    seen: u64,
}

impl RunningAggregate {
    pub(super) fn new(kind: AggregateKind, rows: Option<usize>) -> Self {
        Self { kind, rows, frame: VecDeque::new(), n: 0, sum: 0.0, mean: 0.0, m2: 0.0, best: VecDeque::new(), seen: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.frame.clear();
        self.best.clear();
        (self.n, self.sum, self.mean, self.m2, self.seen) = (0, 0.0, 0.0, 0.0, 0);
    }

    /// Takes the next row; gives the value of its frame.
    pub(super) fn next(&mut self, value: Option<f64>) -> Option<f64> {
        self.seen += 1;
        if let Some(value) = value {
            self.add(value);
        }
        if let Some(rows) = self.rows {
            if self.frame.len() > rows
                && let Some((old, is_value)) = self.frame.pop_front()
                && is_value
            {
                self.remove(old);
            }
            self.frame.push_back((value.unwrap_or(0.0), value.is_some()));
        }
        self.value()
    }

    /// Rows without a NULL, in one go: the usual case of an average, with the frame's rows read where they stand.
    pub(super) fn run(&mut self, values: &[f64], out: &mut [f64]) -> bool {
        let Some(rows) = self.rows else { return false };
        if !matches!(self.kind, AggregateKind::Avg | AggregateKind::Sum)
            || self.n != self.frame.len() as u64
            || values.len() <= rows
        {
            return false;
        }
        let is_avg = self.kind == AggregateKind::Avg;
        let divide = |sum: f64, n: u64| if is_avg { sum / n as f64 } else { sum };
        let mut sum = self.sum;
        let mut n = self.n;
        for (value, out) in values[..=rows].iter().zip(&mut *out) {
            sum += value;
            n += 1;
            if self.frame.len() > rows
                && let Some((old, _)) = self.frame.pop_front()
            {
                sum -= old;
                n -= 1;
            }
            self.frame.push_back((*value, true));
            *out = divide(sum, n);
        }
        let n_full = n;
        let (leaving, entering) = (&values[..values.len() - rows - 1], &values[rows + 1..]);
        for ((new, old), out) in entering.iter().zip(leaving).zip(&mut out[rows + 1..]) {
            sum += new;
            sum -= old;
            *out = divide(sum, n_full);
        }
        self.frame.clear();
        self.frame.extend(values[values.len() - rows - 1..].iter().map(|it| (*it, true)));
        (self.sum, self.n) = (sum, n_full);
        self.seen += values.len() as u64;
        true
    }

    fn add(&mut self, value: f64) {
        self.n += 1;
        match self.kind {
            AggregateKind::Avg | AggregateKind::Sum => self.sum += value,
            AggregateKind::Min | AggregateKind::Max => {
                while self.best.back().is_some_and(|(_, last)| self.beats(value, *last)) {
                    self.best.pop_back();
                }
                self.best.push_back((self.seen, value));
                if self.rows.is_none() {
                    self.best.truncate(1);
                }
            }
            AggregateKind::StddevSample | AggregateKind::StddevPopulation => {
                let delta = value - self.mean;
                self.mean += delta / self.n as f64;
                self.m2 += delta * (value - self.mean);
            }
            AggregateKind::Count | AggregateKind::CountRows => {}
        }
    }

    /// Whether a later value makes an earlier one useless. Floats are ordered as in the rest of SQL: NaN is greatest.
    fn beats(&self, later: f64, earlier: f64) -> bool {
        let order = later.total_cmp(&earlier);
        if self.kind == AggregateKind::Min { order.is_le() } else { order.is_ge() }
    }

    fn remove(&mut self, value: f64) {
        self.n -= 1;
        match self.kind {
            AggregateKind::Avg | AggregateKind::Sum => self.sum -= value,
            AggregateKind::Min | AggregateKind::Max => {
                // The row that leaves is the one `rows + 1` before the newest.
                let oldest = self.seen - self.rows.unwrap_or(0) as u64;
                while self.best.front().is_some_and(|(row, _)| *row < oldest) {
                    self.best.pop_front();
                }
            }
            AggregateKind::StddevSample | AggregateKind::StddevPopulation => {
                if self.n == 0 {
                    (self.mean, self.m2) = (0.0, 0.0);
                } else {
                    let delta = self.mean - value;
                    self.mean += delta / self.n as f64;
                    self.m2 -= delta * (self.mean - value);
                }
            }
            AggregateKind::Count | AggregateKind::CountRows => {}
        }
    }

    fn value(&self) -> Option<f64> {
        let n = self.n as f64;
        match self.kind {
            AggregateKind::Count | AggregateKind::CountRows => Some(n),
            _ if self.n == 0 => None,
            AggregateKind::Avg => Some(self.sum / n),
            AggregateKind::Sum => Some(self.sum),
            AggregateKind::Min | AggregateKind::Max => self.best.front().map(|(_, value)| *value),
            AggregateKind::StddevPopulation if self.n == 1 => Some(0.0),
            AggregateKind::StddevPopulation => Some((self.m2 / n).sqrt()),
            AggregateKind::StddevSample => (self.n > 1).then(|| (self.m2 / (n - 1.0)).sqrt()),
        }
    }

    pub(super) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.n as f64, self.sum, self.mean, self.m2]);
        state.push(self.frame.len() as f64);
        for (value, is_value) in &self.frame {
            state.extend([*value, f64::from(u8::from(*is_value))]);
        }
        for (row, value) in &self.best {
            state.extend([*row as f64, *value]);
        }
    }

    pub(super) fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let [seen, n, sum, mean, m2, n_frame, rest @ ..] = state else { return Err("it is too short".into()) };
        let (seen, n, n_frame) = (count(*seen)?, count(*n)?, count(*n_frame)?);
        let n_frame = usize::try_from(n_frame).unwrap_or(usize::MAX);
        let most = self.rows.map_or(0, |rows| rows + 1);
        if n_frame > most || rest.len() < 2 * n_frame || (rest.len() - 2 * n_frame) % 2 != 0 || n > seen {
            return Err(format!("{n_frame} rows of a frame of {most} and {} numbers", rest.len()));
        }
        let (frame, best) = rest.split_at(2 * n_frame);
        self.frame = frame.chunks_exact(2).map(|it| (it[0], it[1] != 0.0)).collect();
        self.best = best.chunks_exact(2).map(|it| Ok((count(it[0])?, it[1]))).collect::<Result<_, String>>()?;
        if self.best.iter().any(|(row, _)| *row > seen) {
            return Err("a candidate is newer than the newest row".into());
        }
        (self.seen, self.n, self.sum, self.mean, self.m2) = (seen, n, *sum, *mean, *m2);
        Ok(())
    }
}

fn count(number: f64) -> Result<u64, String> {
    let is_count = number >= 0.0 && number.fract() == 0.0 && number <= (1_u64 << 53) as f64;
    if is_count { Ok(number as u64) } else { Err(format!("{number} is no count")) }
}
