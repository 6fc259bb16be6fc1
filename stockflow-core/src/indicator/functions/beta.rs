//! Beta: how much the returns of the second series move with those of the first. Source: TA-Lib `BETA`.
//!
//! Sums over the returns of the window, less a shift near their mean. Where these lose digits, and from time to time
//! anyway, they are made anew around the means of the window.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::past::Past;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "beta", kind: StateKind::Window, keeps: "the sums and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0).max(1);
    Some(Box::new(Beta { period, past: Past::new(period + 1), sums: Sums::new(period) }))
}

/// Windows after which the sums are made anew.
const RENEWAL: usize = 32;
/// A spread that is a smaller part of the squares than this has lost too many digits.
const WORN: f64 = 0.000001;
/// So much greater than all that stays must leaving squares be to take its digits along.
const GREATER: f64 = 1000.0;
/// A spread that is a smaller part of the squares than this is none.
const NOTHING: f64 = 0.00000000000001;

#[derive(Debug)]
struct Beta {
    period: usize,
    past: Past<2>,
    sums: Sums,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    shift: [f64; 2],
    /// The sums of the returns of both series, of their squares, and of their products.
    plain: [f64; 2],
    squares: [f64; 2],
    products: f64,
    /// Rows until they are made anew.
    left: usize,
}

/// What a row is above the one before, as a part of that; nothing over nothing.
#[inline(always)]
fn gain(before: f64, row: f64) -> f64 {
    if before == 0.0 { 0.0 } else { (row - before) / before }
}

impl Sums {
    fn new(period: usize) -> Self {
        Self { left: RENEWAL * period, ..Self::default() }
    }

    /// The shifted returns at this row.
    #[inline(always)]
    fn gains(&self, rows: [&[f64]; 2], at: usize) -> [f64; 2] {
        let [one, other] = rows;
        [gain(one[at - 1], one[at]) - self.shift[0], gain(other[at - 1], other[at]) - self.shift[1]]
    }

    #[inline(always)]
    fn add(&mut self, [x, y]: [f64; 2]) {
        self.squares[0] += x * x;
        self.squares[1] += y * y;
        self.products += x * y;
        self.plain[0] += x;
        self.plain[1] += y;
    }

    #[inline(always)]
    fn take_out(&mut self, [x, y]: [f64; 2]) {
        self.squares[0] -= x * x;
        self.squares[1] -= y * y;
        self.products -= x * y;
        self.plain[0] -= x;
        self.plain[1] -= y;
    }

    /// Squares of the first returns, and how far they spread.
    #[inline(always)]
    fn spread(&self, period: f64) -> (f64, f64) {
        let squares = period * self.squares[0];
        (squares, squares - self.plain[0] * self.plain[0])
    }

    /// The value of a full window, whose sums are in.
    fn value(&mut self, window: [&[f64]; 2], left: [f64; 2], period: usize) -> f64 {
        let n = period as f64;
        let (mut squares, mut spread) = self.spread(n);
        self.left -= 1;
        let is_worn = spread < WORN * squares;
        let has_left_great = (0..2).any(|k| left[k] * left[k] > GREATER * self.squares[k]);
        if is_worn || has_left_great || self.left == 0 {
            *self = Self::new(period);
            let returns = window.map(|rows| rows.windows(2).map(|it| gain(it[0], it[1])).sum::<f64>());
            self.shift = returns.map(|it| it / n);
            (1..=period).for_each(|at| self.add(self.gains(window, at)));
            (squares, spread) = self.spread(n);
            spread = spread.max(0.0);
        }
        if spread > NOTHING * squares { (n * self.products - self.plain[0] * self.plain[1]) / spread } else { 0.0 }
    }
}

impl Running for Beta {
    fn reset(&mut self) {
        self.past.reset();
        self.sums = Sums::new(self.period);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([one, other], [out]) = (inputs, outputs) else { return Err("it reads two series and gives one".into()) };
        let (period, sums, out) = (self.period, &mut self.sums, out.real());
        self.past.feed([one, other], |known, rows, new| {
            for (at, out) in (known..).zip(&mut out[new]) {
                if at == 0 {
                    continue;
                }
                let mut left = [0.0; 2];
                if at == 1 && known <= 1 {
                    sums.shift = sums.gains(rows, at);
                }
                if at > period {
                    left = sums.gains(rows, at - period);
                    sums.take_out(left);
                }
                sums.add(sums.gains(rows, at));
                if at >= period {
                    *out = sums.value(rows.map(|it| &it[at - period..=at]), left, period);
                }
            }
        });
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        let Sums { shift, plain, squares, products, left } = self.sums;
        state.extend([shift, plain, squares].concat());
        state.extend([products, left as f64]);
        self.past.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let mut pair = || Ok::<_, String>([saved.number()?, saved.number()?]);
        (self.sums.shift, self.sums.plain, self.sums.squares) = (pair()?, pair()?, pair()?);
        self.sums.products = saved.number()?;
        self.sums.left = saved.count(RENEWAL * self.period)?.max(1);
        self.past.load(&mut saved)?;
        saved.end()
    }
}
