//! One dividend, twice.

use chrono::TimeDelta;

use super::super::{Kind, Work};
use super::{DECIDED, Payment, REACH, Scene, Step, payments, remove};

/// How near two amounts are to be the same: conversion of currencies on two days.
const SAME: f64 = 5e-3;

/// Who pays more often than this, in days, may well pay the same twice in a week.
const RARE: i64 = 14;

const WHY: &str = "the same dividend twice within a week";

/// Takes out one of two equal dividends within seven days.
///
/// # Formula
///
/// Two dividends in a row, at most 7 days apart, whose amounts differ by at most 0.5 %; the median distance of the
/// series'
/// dividends is 14 days or more. If the adjusted close contains one of them, that one stays. Otherwise (both or none)
/// the one that the
/// nights fit better stays: with `z = ln((open + paid) / close before) / s`, the smaller `z²(kept, D) + z²(other, 0)`.
/// Both
/// stay if the nights say so by 9. The step of the one that goes is taken out of the adjusted close.
///
/// # Reason
///
/// Feeds of two sources name two dates for one payment. No company pays one amount twice in a week unless it always
/// pays weekly.
pub(super) fn apply(work: &mut Work) -> Vec<Step> {
    let mut dividends = payments(work);
    dividends.retain(|it| it.kind == Kind::Dividend);
    let mut distances: Vec<i64> = dividends.windows(2).map(|it| (it[1].date - it[0].date).num_days()).collect();
    distances.sort_unstable();
    if dividends.len() > 2 && distances.get(distances.len() / 2).is_some_and(|it| *it < RARE) {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let mut gone = Vec::new();
    let mut place = 1;
    while let Some((a, b)) = dividends.get(place - 1).zip(dividends.get(place)) {
        place += 1;
        let near = b.date.signed_duration_since(a.date) <= TimeDelta::days(REACH as i64);
        if !near || (a.amount / b.amount - 1.0).abs() > SAME {
            continue;
        }
        if let Some((other, factor)) = surplus(work, a, b) {
            gone.push(other.action);
            steps.extend(factor.map(|factor| Step { row: other.scene.row, factor, why: WHY }));
            place += 1;
        }
    }
    remove(work, &gone, WHY);
    steps
}

/// The one that goes, and what that does to the adjusted close.
fn surplus<'a>(work: &Work, a: &'a Payment, b: &'a Payment) -> Option<(&'a Payment, Option<f64>)> {
    if a.scene.row == b.scene.row {
        return surplus_of_one_day(work, a, b);
    }
    let held = |it: &Payment| it.scene.contains(it.amount);
    let misfit = |it: &Payment, amount: f64| it.scene.misfit(amount, it.scene.spreads(&work.bars).0);
    let (first, second) = (misfit(a, a.amount) + misfit(b, 0.0), misfit(a, 0.0) + misfit(b, b.amount));
    let both = misfit(a, a.amount) + misfit(b, b.amount);
    let other = match (held(a), held(b)) {
        (true, false) => b,
        (false, true) => a,
        _ if both + DECIDED < first.min(second) => return None,
        _ if first < second => b,
        _ => a,
    };
    let factor = if held(other) { other.scene.correction(other.amount, 0.0) } else { None };
    Some((other, factor))
}

fn surplus_of_one_day<'a>(work: &Work, a: &Payment, b: &'a Payment) -> Option<(&'a Payment, Option<f64>)> {
    let scene: &Scene = &b.scene;
    let both = a.amount + b.amount;
    if scene.contains(a.amount) {
        return Some((b, None));
    }
    let (night, _) = scene.spreads(&work.bars);
    let is_one = scene.misfit(a.amount, night) + DECIDED < scene.misfit(both, night);
    (is_one && scene.contains(both)).then(|| (b, scene.correction(both, a.amount)))
}
