//! Peak: the greatest or the least row of the last ones, at a cost that hardly depends on how many they are. Source:
//! the part that TA-Lib's `STOCH`, `STOCHF`, `STOCHRSI` and `WILLR` share.
//!
//! A short window is put together from windows of two, four, eight … rows, for which the processor compares several
//! rows at once. A long one is the end of one block and the start of the next, each of which has an extreme of its own.

use std::fmt;
use std::marker::PhantomData;

use super::super::running::Saved;
use super::past::{Past, room};

/// Which of two rows is kept.
pub(crate) trait Pick: fmt::Debug + Send {
    /// What any row is picked before.
    const NONE: f64;

    fn pick(one: f64, other: f64) -> f64;
}

#[derive(Debug)]
pub(crate) struct Greatest;

impl Pick for Greatest {
    const NONE: f64 = f64::NEG_INFINITY;

    #[inline(always)]
    fn pick(one: f64, other: f64) -> f64 {
        if one > other { one } else { other }
    }
}

#[derive(Debug)]
pub(crate) struct Least;

impl Pick for Least {
    const NONE: f64 = f64::INFINITY;

    #[inline(always)]
    fn pick(one: f64, other: f64) -> f64 {
        if one < other { one } else { other }
    }
}

/// Windows up to this long are short.
const SHORT: usize = 32;

/// The extreme of the last rows.
#[derive(Debug)]
pub(crate) enum Peak<P> {
    Short(Short<P>),
    Long(Long<P>),
}

impl<P: Pick> Peak<P> {
    pub(crate) fn new(window: usize) -> Self {
        let window = window.max(1);
        if window <= SHORT { Self::Short(Short::new(window)) } else { Self::Long(Long::new(window)) }
    }

    pub(crate) fn reset(&mut self) {
        match self {
            Self::Short(it) => it.past.reset(),
            Self::Long(it) => it.reset(),
        }
    }

    /// The extremes of the windows that end at these rows; anything before the window is full.
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64]) {
        match self {
            Self::Short(it) => it.run(input, out),
            Self::Long(it) => it.run(input, out),
        }
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        match self {
            Self::Short(it) => it.past.save(state),
            Self::Long(it) => it.save(state),
        }
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        match self {
            Self::Short(it) => it.past.load(saved),
            Self::Long(it) => it.load(saved),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Short<P> {
    window: usize,
    past: Past<1>,
    scratch: [Vec<f64>; 2],
    pick: PhantomData<P>,
}

impl<P: Pick> Short<P> {
    fn new(window: usize) -> Self {
        Self { window, past: Past::new(window - 1), scratch: Default::default(), pick: PhantomData }
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (window, scratch) = (self.window, &mut self.scratch);
        self.past.feed([input], |known, [rows], new| {
            // Windows that are not full give nothing.
            let missing = (window - 1 - known).min(rows.len() - known);
            let out = &mut out[new][missing..];
            if !out.is_empty() {
                windows::<P>(&rows[rows.len() - out.len() - (window - 1)..], window, scratch, out);
            }
        });
    }
}

/// The extremes of all windows within the rows.
fn windows<P: Pick>(rows: &[f64], window: usize, scratch: &mut [Vec<f64>; 2], out: &mut [f64]) {
    match window {
        1 => out.copy_from_slice(rows),
        2 | 3 => halves::<P>(rows, window, out),
        4..8 => {
            let [pairs, _] = scratch.each_mut().map(|it| room(it, rows.len()));
            let n = out.len() + window - 4;
            fours::<P>(rows, &mut pairs[..n]);
            join::<P>(pairs, window - 4, out);
        }
        _ => {
            let [one, other] = scratch.each_mut().map(|it| room(it, rows.len()));
            let (mut have, mut next) = (one, other);
            let mut width = 4;
            fours::<P>(rows, &mut have[..out.len() + window - 4]);
            while 2 * width <= window {
                let n = out.len() + window - 2 * width;
                join::<P>(have, width, &mut next[..n]);
                std::mem::swap(&mut have, &mut next);
                width *= 2;
            }
            join::<P>(have, window - width, out);
        }
    }
}

/// Windows of two rows or three.
#[inline(always)]
fn halves<P: Pick>(rows: &[f64], window: usize, out: &mut [f64]) {
    for (((out, first), middle), last) in out.iter_mut().zip(rows).zip(&rows[1..]).zip(&rows[window - 1..]) {
        *out = P::pick(P::pick(*first, *middle), *last);
    }
}

/// Windows of four rows.
#[inline(always)]
fn fours<P: Pick>(rows: &[f64], out: &mut [f64]) {
    let pairs = rows.iter().zip(&rows[1..]).zip(rows[2..].iter().zip(&rows[3..]));
    for (out, ((first, second), (third, fourth))) in out.iter_mut().zip(pairs) {
        *out = P::pick(P::pick(*first, *second), P::pick(*third, *fourth));
    }
}

/// Windows made of two that begin so far apart.
#[inline(always)]
fn join<P: Pick>(have: &[f64], apart: usize, out: &mut [f64]) {
    for ((out, first), second) in out.iter_mut().zip(have).zip(&have[apart..]) {
        *out = P::pick(*first, *second);
    }
}

#[derive(Debug)]
pub(crate) struct Long<P> {
    window: usize,
    /// The extreme from each row of the last full block to the block's end.
    ends: Vec<f64>,
    /// The rows of the block that is filling up, and their extreme.
    block: Vec<f64>,
    start: f64,
    pick: PhantomData<P>,
}

impl<P: Pick> Long<P> {
    fn new(window: usize) -> Self {
        Self { window, ends: Vec::new(), block: Vec::new(), start: P::NONE, pick: PhantomData }
    }

    fn reset(&mut self) {
        self.ends.clear();
        self.block.clear();
        self.start = P::NONE;
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (mut input, mut out) = (input, out);
        while !input.is_empty() {
            let at = self.block.len();
            let n = (self.window - at).min(input.len());
            let (now, later) = input.split_at(n);
            let (out_now, out_later) = std::mem::take(&mut out).split_at_mut(n);
            self.block.extend_from_slice(now);
            let ends = self.ends.get(at + 1..).unwrap_or_default();
            let mut start = self.start;
            for (k, (row, out)) in now.iter().zip(out_now).enumerate() {
                start = P::pick(*row, start);
                *out = ends.get(k).map_or(start, |end| P::pick(start, *end));
            }
            self.start = start;
            if at + n == self.window {
                let mut end = P::NONE;
                self.ends.clear();
                self.ends.extend(self.block.iter().rev().map(|row| {
                    end = P::pick(*row, end);
                    end
                }));
                self.ends.reverse();
                self.block.clear();
                self.start = P::NONE;
            }
            (input, out) = (later, out_later);
        }
    }

    /// The rows that later windows see. Those of the full block are as good as the extremes from them on.
    fn save(&self, state: &mut Vec<f64>) {
        let ends = self.ends.get(self.block.len() + 1..).unwrap_or_default();
        state.push((ends.len() + self.block.len()) as f64);
        state.extend_from_slice(ends);
        state.extend_from_slice(&self.block);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let n = saved.count(self.window - 1)?;
        self.reset();
        self.block.extend_from_slice(saved.numbers(n)?);
        self.start = self.block.iter().fold(P::NONE, |start, row| P::pick(*row, start));
        Ok(())
    }
}
