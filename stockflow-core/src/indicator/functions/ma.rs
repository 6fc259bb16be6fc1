//! Moving average of a kind that is named by a code. Source: TA-Lib `MA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::average::{Average, Averaged, Same};
use super::dema::Dema;
use super::ema::Ema;
use super::hma::hma;
use super::kama::kama;
use super::rma::rma;
use super::sma::Sma;
use super::t3::t3;
use super::tema::Tema;
use super::trima::Trima;
use super::wma::wma;
use super::zlema::Zlema;

pub(crate) static UNIT: Unit =
    Unit { name: "ma", kind: StateKind::Recursive, keeps: "what the chosen average keeps", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(average(kind(values, 1)?, period(values, 0))?)))
}

/// TA-Lib's codes for the kinds of averages, as far as they can go piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sma,
    Ema,
    Wma,
    Dema,
    Tema,
    Trima,
    Kama,
    T3,
    Hma,
    /// The series as it is.
    Disabled,
    Zlema,
    Rma,
    /// One that only runs over all rows at once, unless its period is 1.
    Other,
}

impl Kind {
    /// Whether it sees its last rows only.
    pub(crate) fn is_windowed(self) -> bool {
        matches!(self, Self::Sma | Self::Wma | Self::Trima | Self::Hma)
    }
}

/// The parameter at this place as a kind of average.
pub(crate) fn kind(values: &[Value], index: usize) -> Option<Kind> {
    let Some(Value::Integer(code)) = values.get(index) else { return None };
    Some(match code {
        0 => Kind::Sma,
        1 => Kind::Ema,
        2 => Kind::Wma,
        3 => Kind::Dema,
        4 => Kind::Tema,
        5 => Kind::Trima,
        6 => Kind::Kama,
        8 => Kind::T3,
        9 => Kind::Hma,
        10 => Kind::Disabled,
        12 => Kind::Zlema,
        13 => Kind::Rma,
        _ => Kind::Other,
    })
}

/// An average of this kind; `None` where it cannot go piece by piece.
pub(crate) fn average(kind: Kind, period: usize) -> Option<Box<dyn Average>> {
    if period <= 1 {
        return Some(Box::new(Same));
    }
    Some(match kind {
        Kind::Sma => Box::new(Sma::new(period)),
        Kind::Ema => Box::new(Ema::new(period)),
        Kind::Wma => wma(period),
        Kind::Dema => Box::new(Dema::new(period)),
        Kind::Tema => Box::new(Tema::new(period)),
        Kind::Trima => Box::new(Trima::new(period)),
        Kind::Kama => kama(period),
        Kind::T3 => t3(period, 0.7),
        Kind::Hma => hma(period),
        Kind::Disabled => Box::new(Same),
        Kind::Zlema => Box::new(Zlema::new(period)),
        Kind::Rma => rma(period),
        Kind::Other => return None,
    })
}
