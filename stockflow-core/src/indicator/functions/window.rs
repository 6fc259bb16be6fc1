//! Functions that can see their last rows only: their state is those rows, and TA-Lib runs over them and the new ones.
//!
//! Which functions these are is established by a test over the whole catalogue: over the last `lookback + 1` rows alone
//! each gives the value that it gives over the whole series.

use std::sync::Arc;

use super::super::definition::Value;
use super::super::kernel::Kernel;
use super::super::running::{Out, Running, Saved};

/// Their names, in alphabetical order.
pub(crate) static WINDOWED: &[&str] = &[
    "accbands",
    "acos",
    "add",
    "adr",
    "alma",
    "aroonosc",
    "asin",
    "atan",
    "avgdev",
    "avgprice",
    "bop",
    "cdl2crows",
    "cdl3blackcrows",
    "cdl3inside",
    "cdl3linestrike",
    "cdl3outside",
    "cdl3starsinsouth",
    "cdl3whitesoldiers",
    "cdlabandonedbaby",
    "cdladvanceblock",
    "cdlbelthold",
    "cdlbreakaway",
    "cdlclosingmarubozu",
    "cdlconcealbabyswall",
    "cdlcounterattack",
    "cdldarkcloudcover",
    "cdldoji",
    "cdldojistar",
    "cdldragonflydoji",
    "cdlengulfing",
    "cdleveningdojistar",
    "cdleveningstar",
    "cdlgapsidesidewhite",
    "cdlgravestonedoji",
    "cdlhammer",
    "cdlhangingman",
    "cdlharami",
    "cdlharamicross",
    "cdlhighwave",
    "cdlhikkake",
    "cdlhikkakemod",
    "cdlhomingpigeon",
    "cdlidentical3crows",
    "cdlinneck",
    "cdlinvertedhammer",
    "cdlkicking",
    "cdlkickingbylength",
    "cdlladderbottom",
    "cdllongleggeddoji",
    "cdllongline",
    "cdlmarubozu",
    "cdlmatchinglow",
    "cdlmathold",
    "cdlmorningdojistar",
    "cdlmorningstar",
    "cdlonneck",
    "cdlpiercing",
    "cdlrickshawman",
    "cdlrisefall3methods",
    "cdlseparatinglines",
    "cdlshootingstar",
    "cdlshortline",
    "cdlspinningtop",
    "cdlstalledpattern",
    "cdlsticksandwich",
    "cdltakuri",
    "cdltasukigap",
    "cdlthrusting",
    "cdltristar",
    "cdlunique3river",
    "cdlupsidegap2crows",
    "cdlxsidegap3methods",
    "ceil",
    "cg",
    "chop",
    "choptr",
    "cmf",
    "cmou",
    "coppock",
    "correl",
    "cos",
    "cosh",
    "cti",
    "div",
    "donchian",
    "emv",
    "er",
    "exp",
    "floor",
    "fractal",
    "ibs",
    "ichimoku",
    "imi",
    "kst",
    "kurtosis",
    "ln",
    "log10",
    "marketfi",
    "max",
    "maxindex",
    "median",
    "medprice",
    "midpoint",
    "midprice",
    "min",
    "minindex",
    "minmax",
    "minmaxindex",
    "mult",
    "percentile",
    "percentrank",
    "qstick",
    "rocp",
    "rocr",
    "rocr100",
    "rogerssatchell",
    "rvol",
    "si",
    "sin",
    "sinh",
    "sqrt",
    "sub",
    "sum",
    "tan",
    "tanh",
    "typprice",
    "ultosc",
    "vhf",
    "vortex",
    "vwma",
    "wclprice",
];

/// Outputs that are row numbers, which count from the first row of the series.
const ROW_NUMBERS: &[&str] = &["maxindex", "minindex", "minmaxindex"];

/// More inputs or outputs than any function has.
const MOST_SERIES: usize = 8;

/// A kernel over the last rows it can see and the new ones.
#[derive(Debug)]
pub(crate) struct Windowed {
    kernel: Arc<dyn Kernel>,
    values: Vec<Value>,
    lookback: usize,
    /// Whether the outputs count rows from the start of the series.
    row_numbers: bool,
    /// Rows before the tail.
    before: usize,
    /// The last `lookback` rows or fewer of each input; while a piece is taken in, some of its rows behind them.
    tails: Vec<Vec<f64>>,
    /// Room for the outputs over tail and piece, kept so that a stream of single rows allocates nothing.
    scratch: Vec<(Vec<f64>, Vec<i32>)>,
}

impl Windowed {
    pub(crate) fn new(name: &str, kernel: Arc<dyn Kernel>, values: &[Value], n_inputs: usize) -> Option<Self> {
        if n_inputs == 0 || n_inputs > MOST_SERIES {
            return None;
        }
        let lookback = kernel.lookback(values).ok()?;
        Some(Self {
            kernel,
            values: values.to_vec(),
            lookback,
            row_numbers: ROW_NUMBERS.contains(&name),
            before: 0,
            tails: vec![Vec::new(); n_inputs],
            scratch: Vec::new(),
        })
    }

    fn n_tail(&self) -> usize {
        self.tails.first().map_or(0, Vec::len)
    }

    /// The values of the first rows of a piece, whose windows begin in the tail.
    ///
    /// The tail is longer by those rows afterwards.
    fn run_joined(&mut self, inputs: &[&[f64]], n: usize, outputs: &mut [Out<'_>]) -> Result<(), String> {
        let n_tail = self.n_tail();
        let total = n_tail + n;
        for (tail, input) in self.tails.iter_mut().zip(inputs) {
            tail.extend_from_slice(&input[..n]);
        }
        if total <= self.lookback {
            return Ok(());
        }
        let mut slices: [&[f64]; MOST_SERIES] = [&[]; MOST_SERIES];
        for (slice, tail) in slices.iter_mut().zip(&self.tails) {
            *slice = tail;
        }
        self.scratch.resize_with(outputs.len(), Default::default);
        for ((reals, integers), out) in self.scratch.iter_mut().zip(&*outputs) {
            match out {
                Out::Real(_) => reals.resize(total, 0.0),
                Out::Integer(_) => integers.resize(total, 0),
            }
        }
        let mut scratch = self.scratch.iter_mut();
        let mut places: [Out<'_>; MOST_SERIES] = std::array::from_fn(|i| match (outputs.get(i), scratch.next()) {
            (Some(Out::Integer(_)), Some((_, integers))) => Out::Integer(integers),
            (_, Some((reals, _))) => Out::Real(reals),
            (_, None) => Out::Real(&mut []),
        });
        let places = places.get_mut(..outputs.len()).ok_or("it has too many outputs")?;
        self.kernel.run(&self.values, &slices[..self.tails.len()], places)?;
        // The values of the tail were given before; only those of the new rows are copied out.
        for (out, (reals, integers)) in outputs.iter_mut().zip(&self.scratch) {
            match out {
                Out::Real(out) => out[..n].copy_from_slice(&reals[n_tail..]),
                Out::Integer(out) => {
                    out[..n].copy_from_slice(&integers[n_tail..]);
                    count_from(self.before, self.row_numbers, &mut out[..n])?;
                }
            }
        }
        Ok(())
    }
}

/// Makes row numbers of a part of the series ones of the whole.
fn count_from(first: usize, row_numbers: bool, out: &mut [i32]) -> Result<(), String> {
    if first == 0 || !row_numbers {
        return Ok(());
    }
    let too_many = || "too many rows for a row number".to_string();
    let first = i32::try_from(first).map_err(|_| too_many())?;
    out.iter_mut().try_for_each(|it| it.checked_add(first).map(|sum| *it = sum).ok_or_else(too_many))
}

impl Running for Windowed {
    fn reset(&mut self) {
        self.before = 0;
        self.tails.iter_mut().for_each(Vec::clear);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        if inputs.len() != self.tails.len() {
            return Err(format!("it reads {} series, {} were given", self.tails.len(), inputs.len()));
        }
        let n = inputs.first().map_or(0, |it| it.len());
        if n == 0 {
            return Ok(());
        }
        let (n_tail, before) = (self.n_tail(), self.before);
        if n_tail > 0 {
            // Rows further on see nothing of the tail: they need no copy.
            self.run_joined(inputs, n.min(self.lookback), outputs)?;
        }
        if n > self.lookback {
            self.kernel.run(&self.values, inputs, outputs)?;
            for out in outputs.iter_mut() {
                let lookback = self.lookback;
                let out = out.integer().get_mut(lookback..).unwrap_or_default();
                count_from(before + n_tail, self.row_numbers, out)?;
            }
            for (tail, input) in self.tails.iter_mut().zip(inputs) {
                tail.clear();
                tail.extend_from_slice(&input[n - self.lookback..]);
            }
        } else if n_tail == 0 {
            for (tail, input) in self.tails.iter_mut().zip(inputs) {
                tail.extend_from_slice(input);
            }
        } else {
            let surplus = (n_tail + n).saturating_sub(self.lookback);
            for tail in &mut self.tails {
                tail.drain(..surplus);
            }
        }
        self.before = before + n_tail + n - self.n_tail();
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.before as f64);
        self.tails.iter().for_each(|tail| state.extend_from_slice(tail));
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = Saved::new(state);
        let before = saved.count(1 << 53)?;
        let n = (state.len() - 1) / self.tails.len().max(1);
        if n > self.lookback {
            return Err(format!("{n} rows where {} can be seen", self.lookback));
        }
        if n < self.lookback && before > 0 {
            return Err(format!("{n} rows of the {} that can be seen", self.lookback));
        }
        if state.iter().any(|it| !it.is_finite()) {
            return Err("it holds a number that is not finite".into());
        }
        for tail in &mut self.tails {
            tail.clear();
            tail.extend_from_slice(saved.numbers(n)?);
        }
        saved.end()?;
        self.before = before;
        Ok(())
    }
}
