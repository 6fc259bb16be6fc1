//! Bars on days without trade.

use std::sync::Arc;

use super::{Change, Column, Context, Rule, Width, Work};

/// Takes out bars of dates on which the exchange was closed.
///
/// # Formula
///
/// A bar goes if `is_session(date)` is `Some(false)`. `None` leaves it, and so does a missing predicate.
///
/// # Reason
///
/// Sources fill holidays with copies of the day before, or with zeros. Such a bar is no observation. Weeks and months
/// are
/// stamped with their first day, which may well be a holiday: wide bars stay.
pub(super) fn apply(work: &mut Work, context: Context<'_>) {
    let Some(is_session) = context.is_session else { return };
    if work.width == Width::Longer {
        return;
    }
    let why: Arc<str> = Arc::from("no trading on this day");
    let bars = std::mem::take(&mut work.bars);
    let order = std::mem::take(&mut work.order);
    for (bar, place) in bars.into_iter().zip(order) {
        if is_session(bar.date) == Some(false) {
            let (date, before) = (bar.date, bar.close);
            let (rule, column) = (Rule::Calendar, Column::Row);
            work.repairs.push(Change {
                date,
                place: Some(place),
                rule,
                column,
                before,
                after: None,
                why: Arc::clone(&why),
            });
        } else {
            work.bars.push(bar);
            work.order.push(place);
        }
    }
}
