//! A dividend in another unit than the prices.

use super::super::number::{median, price};
use super::super::{Kind, Work};
use super::{
    CONFIRMED, DENIED, LIKE, PEERS, Payment, Scene, Step, is_known_payer, is_within, note, payments, peers, single_rows,
};

/// Pence to the pound.
const UNIT: f64 = 100.0;

/// A payment of more than this share of the price is none.
const MOST: f64 = 0.9;

/// Fewer other dividends have no usual amount.
const LEAST_PEERS: usize = 3;

/// How far an amount in another unit is from them, at least.
const UNLIKE: f64 = 30.0;

const WHY: &str = "dividend 100 times off: in another unit than the prices";

/// Brings a dividend that is 100 times too large or too small to the unit of the prices.
///
/// # Formula
///
/// The candidates are `D`, `D / 100` and `100 D`. Let `B` be the larger one in question, `p` the close before.
///
/// 1. `B = D ≥ 0.9 p`: `D / 100`, unless the price confirms `D`.
/// 2. `B = D` could not hide in the price (5 volatilities of a day, 5 %) and the price denies it: `D / 100`, unless the
///    adjusted close
///    contains neither, or the price confirms other dividends of that size, more than twice as often as it denies them.
/// 3. `B = 100 D` could not hide and the price confirms it, in the open and in the low, and the other dividends do not
///    vouch for `D`:
///    `100 D`.
/// 4. `B` could hide: the six nearest other dividends decide. At least three, of which at most one in six is more than
///    a factor of 2
///    from their median; the candidate is within a factor of 2 of that median, and `D` more than a factor of 30 from
///    it.
///
/// The adjusted close is made to contain the new amount.
///
/// # Reason
///
/// London shares are quoted in pence and pay in pounds; sources mix them up per payment. The price is the better
/// witness, as all payments of a series may be wrong alike; below its noise only regularity is left.
pub(super) fn apply(work: &mut Work) -> Vec<Step> {
    let all = payments(work);
    let dividends: Vec<Payment> = all.iter().filter(|it| it.kind == Kind::Dividend).copied().collect();
    let single = single_rows(&all);
    let found: Vec<(Payment, f64)> = (0..dividends.len())
        .filter(|it| single.contains(&dividends[*it].scene.row))
        .filter_map(|it| Some((dividends[it], price(right(work, &dividends, it))?)))
        .collect();
    let mut steps = Vec::new();
    for (payment, amount) in found {
        let scene = payment.scene;
        if !scene.contains(amount) {
            let correction = scene.correction(payment.amount, amount);
            steps.extend(correction.map(|factor| Step { row: scene.row, factor, why: WHY }));
        }
        if let Some(action) = work.actions.get_mut(payment.action) {
            action.value = Some(amount);
            note(work, payment.date, Some(payment.amount), Some(amount), WHY);
        }
    }
    steps
}

/// The amount, if it is another one than stated.
fn right(work: &Work, dividends: &[Payment], place: usize) -> Option<f64> {
    let Payment { amount, scene, .. } = dividends[place];
    let (less, more) = (amount / UNIT, amount * UNIT);
    if amount >= scene.before * MOST {
        let is_paid = amount < scene.before && is_confirmed(&scene, amount);
        return Some(less).filter(|it| !is_paid && *it < scene.before * DENIED);
    }
    if scene.is_audible(amount, &work.bars) {
        let has_witness = scene.step.is_none() || scene.contains(amount) || scene.contains(less);
        return Some(less).filter(|_| scene.denies(amount) && has_witness && !is_known_payer(work, dividends, place));
    }
    let usual = usual(dividends, place);
    if more < scene.before * MOST && scene.is_audible(more, &work.bars) {
        let has_witness = scene.step.is_none() || scene.contains(amount) || scene.contains(more);
        let is_usual = usual.is_some_and(|it| is_within(amount, it, LIKE));
        return Some(more).filter(|_| is_confirmed(&scene, more) && has_witness && !is_usual);
    }
    let usual = usual.filter(|it| !is_within(amount, *it, UNLIKE))?;
    [less, more].into_iter().find(|it| is_within(*it, usual, LIKE))
}

fn is_confirmed(scene: &Scene, amount: f64) -> bool {
    let at_open = (scene.before - scene.open) / amount;
    CONFIRMED.contains(&at_open) && (scene.before - scene.close) / amount >= DENIED
}

/// What the other dividends around one usually are, if they are usual.
fn usual(dividends: &[Payment], place: usize) -> Option<f64> {
    let mut amounts: Vec<f64> = peers(dividends, place).map(|it| it.amount).collect();
    let usual = median(&mut amounts)?;
    let unlike = amounts.iter().filter(|it| !is_within(**it, usual, LIKE)).count();
    (amounts.len() >= LEAST_PEERS && unlike * PEERS <= amounts.len()).then_some(usual)
}
