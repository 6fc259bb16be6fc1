//! A function going through one series piece by piece: the form that batches, epochs and restarts share.
//!
//! A [`Running`] gets the rows of one series in order, in pieces of any length, and gives the values of those rows.
//! One long piece is a batch, pieces of one row are a stream, and what [`Running::save`] gives is the state that a
//! restart goes on from. For any split into pieces the values agree to 1e-9; kernels of ours give the same bits.
//!
//! What is not here: NULL (rows with one are taken out before), Arrow, where state is kept.

use std::fmt;

use super::definition::{StateKind, Value};

/// The place for one output of a piece of rows, one value for each row.
#[derive(Debug)]
pub enum Out<'a> {
    /// Numbers.
    Real(&'a mut [f64]),
    /// Codes.
    Integer(&'a mut [i32]),
}

impl Out<'_> {
    /// The numbers; empty where the output holds codes.
    pub fn real(&mut self) -> &mut [f64] {
        match self {
            Self::Real(values) => values,
            Self::Integer(_) => &mut [],
        }
    }

    /// The codes; empty where the output holds numbers.
    pub fn integer(&mut self) -> &mut [i32] {
        match self {
            Self::Integer(values) => values,
            Self::Real(_) => &mut [],
        }
    }
}

/// One function over one series, as far as it has come.
pub trait Running: fmt::Debug + Send {
    /// Forgets everything: the next row is the first of another series.
    fn reset(&mut self);

    /// Goes on with the next rows.
    ///
    /// `inputs` holds one slice for each input, all of one length and finite; the value of row `i` goes to place `i` of
    /// each output, all of that length. What is written to rows within the lookback does not matter: nobody sees it.
    ///
    /// # Errors
    ///
    /// The reason, where the function cannot go on at all.
    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String>;

    /// Appends the numbers from which [`Running::load`] goes on; how many they are may depend on the rows so far.
    fn save(&self, state: &mut Vec<f64>);

    /// Goes on from what [`Running::save`] gave to a function with the same parameters.
    ///
    /// # Errors
    ///
    /// The reason, if the numbers cannot be such a state (too few, too many, a count that is none).
    fn load(&mut self, state: &[f64]) -> Result<(), String>;
}

/// One function of the catalogue whose kernel is ours: one file in [`functions`](super::functions) holds all of it.
pub(crate) struct Unit {
    /// The catalogue's name.
    pub(crate) name: &'static str,
    /// What kind of state it keeps.
    pub(crate) kind: StateKind,
    /// What that state is, in a few words that follow "it keeps": `the sum and the rows of the window`.
    pub(crate) keeps: &'static str,
    /// A series at its start; `None` for parameters that it cannot go through piece by piece (an average of kind
    /// history), which are then computed over all rows at once.
    pub(crate) start: fn(&[Value]) -> Option<Box<dyn Running>>,
}

/// The parameter at this place as a period.
pub(crate) fn period(values: &[Value], index: usize) -> usize {
    match values.get(index) {
        Some(Value::Integer(value)) => usize::try_from(*value).unwrap_or(1),
        Some(Value::Real(value)) => *value as usize,
        None => 1,
    }
}

/// The parameter at this place as a real number.
pub(crate) fn real(values: &[Value], index: usize) -> f64 {
    match values.get(index) {
        Some(Value::Integer(value)) => f64::from(*value),
        Some(Value::Real(value)) => *value,
        None => 0.0,
    }
}

/// Reads a saved state number by number.
#[derive(Debug)]
pub(crate) struct Saved<'a> {
    rest: &'a [f64],
}

impl<'a> Saved<'a> {
    pub(crate) fn new(state: &'a [f64]) -> Self {
        Self { rest: state }
    }

    pub(crate) fn number(&mut self) -> Result<f64, String> {
        let (first, rest) = self.rest.split_first().ok_or("it is too short")?;
        self.rest = rest;
        Ok(*first)
    }

    /// A count, at most `most`.
    pub(crate) fn count(&mut self, most: usize) -> Result<usize, String> {
        let number = self.number()?;
        let is_count = number >= 0.0 && number.fract() == 0.0 && number <= most as f64;
        if is_count { Ok(number as usize) } else { Err(format!("{number} is no count up to {most}")) }
    }

    pub(crate) fn numbers(&mut self, n: usize) -> Result<&'a [f64], String> {
        let (these, rest) = self.rest.split_at_checked(n).ok_or("it is too short")?;
        self.rest = rest;
        Ok(these)
    }

    /// Makes sure that nothing is left over.
    pub(crate) fn end(self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("{} numbers are left over", self.rest.len())) }
    }
}
