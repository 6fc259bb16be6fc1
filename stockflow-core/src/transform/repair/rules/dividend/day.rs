//! A dividend on the wrong day.

use std::collections::BTreeSet;

use super::super::{Kind, Work};
use super::{AUDIBLE, CONFIRMED, DENIED, Payment, REACH, Scene, Step, note, payments, single_rows};

const WHY: &str = "dividend on the wrong day";

/// Moves a dividend to the day on which it was paid.
///
/// # Formula
///
/// Of the bars up to 7 days before and after that have no payment of their own exactly one must be the better day:
///
/// 1. The adjusted close contains nothing on the stated day and `D` on the other: the action moves there. If the price
///    confirms
///    the stated day and denies the other, the step of the adjusted close moves instead.
/// 2. The adjusted close contains `D` on the stated day, but the price could not hide `D` (5 volatilities of a day, 5
///    %) and denies it (the
///    low is less than `D / 2` below the last close), while on the other day the low is 0.75 to 1.25 `D` below the last
///    close and the
///    close at least `D / 2`: action and step move there.
///
/// # Reason
///
/// Time zones and record dates are mistaken for ex-dates. A small dividend is not seen in the price, so two dates that
/// agree
/// with each other are believed then.
pub(super) fn apply(work: &mut Work) -> Vec<Step> {
    let all = payments(work);
    let mut taken: BTreeSet<usize> = all.iter().map(|it| it.scene.row).collect();
    let single = single_rows(&all);
    let mut steps = Vec::new();
    for payment in all.iter().filter(|it| it.kind == Kind::Dividend) {
        if !single.contains(&payment.scene.row) {
            continue;
        }
        let Some(moved) = better(work, payment, &taken) else { continue };
        steps.extend(moved.steps);
        let Some(scene) = moved.to else { continue };
        taken.insert(scene.row);
        let date = work.bars[scene.row].date;
        if let Some(action) = work.actions.get_mut(payment.action) {
            action.date = date;
            note(work, payment.date, Some(payment.amount), None, WHY);
            note(work, date, None, Some(payment.amount), WHY);
        }
    }
    steps
}

#[derive(Debug)]
struct Moved {
    /// Where the action goes, if it is the action that was wrong.
    to: Option<Scene>,
    steps: Vec<Step>,
}

fn better(work: &Work, payment: &Payment, taken: &BTreeSet<usize>) -> Option<Moved> {
    let (stated, amount) = (payment.scene, payment.amount);
    let audible = stated.is_audible(amount, &work.bars);
    let only = |is_better: &dyn Fn(&Scene) -> bool| {
        let mut found = others(work, payment, taken).filter(is_better);
        found.next().filter(|_| found.next().is_none())
    };
    if stated.contains_nothing(amount) {
        let other = only(&|it| it.contains(amount))?;
        if audible && CONFIRMED.contains(&stated.fall(amount)) && other.denies(amount) {
            return Some(Moved { to: None, steps: move_step(&other, &stated, amount) });
        }
        return Some(Moved { to: Some(other), steps: Vec::new() });
    }
    if !(stated.contains(amount) && audible && stated.denies(amount)) {
        return None;
    }
    let other = only(&|it| is_paid(work, it, amount))?;
    Some(Moved { to: Some(other), steps: move_step(&stated, &other, amount) })
}

/// The scenes of the other bars within a week.
fn others<'a>(work: &'a Work, payment: &'a Payment, taken: &'a BTreeSet<usize>) -> impl Iterator<Item = Scene> + 'a {
    let row = payment.scene.row;
    let near = |it: &Scene| work.bars[it.row].date.signed_duration_since(payment.date).num_days().abs() <= REACH as i64;
    (row.saturating_sub(REACH)..row.saturating_add(REACH + 1).min(work.bars.len()))
        .filter(|it| !taken.contains(it))
        .filter_map(|it| Scene::at(&work.bars, it, it))
        .filter(near)
}

fn is_paid(work: &Work, scene: &Scene, amount: f64) -> bool {
    let (_, day) = scene.spreads(&work.bars);
    let is_rare = amount / scene.before >= AUDIBLE * day;
    let rest = (scene.before - scene.close) / amount;
    is_rare && CONFIRMED.contains(&scene.fall(amount)) && rest >= DENIED
}

fn move_step(from: &Scene, to: &Scene, amount: f64) -> Vec<Step> {
    let (Some(out), Some(into)) = (from.correction(amount, 0.0), to.correction(0.0, amount)) else { return Vec::new() };
    vec![Step { row: from.row, factor: out, why: WHY }, Step { row: to.row, factor: into, why: WHY }]
}
