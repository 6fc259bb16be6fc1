#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch};
use datafusion::common::cast::as_float64_array;

use super::*;
use crate::transform::Normalize;
use crate::transform::expr::ascending;
use crate::transform::testing::{
    EXAMPLES, apply, bars, csv, epoch, example, normalized, notes, refused, relation, table,
};

const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";

async fn out(outputs: &Outputs, columns: &[&str]) -> Vec<String> {
    table(&outputs.output.as_ref().unwrap().frame, columns).await
}

#[tokio::test]
async fn the_ratio_takes_all_prices_to_total_return() {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\nA,2024-01-02,8,12,4,10,100,5\n")).await;
    let outputs = apply(&Adjust::by_ratio(), &epoch, input).await;
    assert_eq!(
        out(&outputs, &["open", "high", "low", "close", "volume", "adj_close", "basis"]).await,
        ["4.0 6.0 2.0 5.0 100.0 5.0 total"]
    );
    assert!(notes(&outputs).await.is_empty());
    assert_eq!(outputs.output.unwrap().version.as_deref(), Some("as_of"));
}

#[tokio::test]
async fn without_a_factor_prices_are_null_and_a_note_warns() {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\nA,2024-01-02,8,12,4,10,100,\nA,2024-01-03,8,12,4,0,100,5\nA,2024-01-04,8,12,4,10,100,0\nA,2024-01-05,8,12,4,,100,5\n")).await;
    let outputs = apply(&Adjust::by_ratio(), &epoch, input).await;
    assert_eq!(
        out(&outputs, &["date", "open", "close", "basis"]).await,
        ["2024-01-02   total", "2024-01-03   total", "2024-01-04   total", "2024-01-05   total"]
    );
    assert_eq!(notes(&outputs).await, ["adjust.no_factor A 3 warning"]);
}

#[tokio::test]
async fn bars_on_the_wanted_basis_stay_and_those_that_cannot_get_there_fail_the_epoch() {
    let epoch = epoch();
    let text = format!("{HEADER},Basis\nA,2024-01-02,8,12,4,10,100,5,total\nA,2024-01-03,8,12,4,10,100,5,split\n");
    let input = bars(&epoch, &text).await;
    let outputs = apply(&Adjust::by_ratio(), &epoch, input.clone()).await;
    assert_eq!(out(&outputs, &["date", "close", "basis"]).await, ["2024-01-02 10.0 total", "2024-01-03 5.0 total"]);
    assert!(notes(&outputs).await.is_empty());
    let back = apply(&Adjust::by_ratio().with_target(Basis::Raw), &epoch, input.clone()).await;
    assert_eq!(notes(&back).await.iter().filter(|it| it.ends_with("fail")).count(), 2);
    assert!(
        refused(&Adjust::by_ratio().with_target(Basis::Split), &epoch, input)
            .await
            .contains("`split` cannot be read from the ratio")
    );
}

#[tokio::test]
async fn the_examples_close_at_their_adjusted_close() {
    let epoch = epoch();
    let input =
        apply(&Normalize::new(), &epoch, relation(&epoch, EXAMPLES.map(example).to_vec())).await.output.unwrap();
    let outputs = apply(&Adjust::by_ratio(), &epoch, input).await;
    let batches = outputs.output.clone().unwrap().frame.collect().await.unwrap();
    let mut n = 0;
    for batch in &batches {
        let of = |name: &str| as_float64_array(batch.column_by_name(name).unwrap()).unwrap().clone();
        for (close, adjusted) in of("close").iter().zip(of("adj_close").iter()) {
            assert!((close.unwrap() - adjusted.unwrap()).abs() <= 1e-12 * adjusted.unwrap());
            n += 1;
        }
    }
    assert_eq!(n, 12_154);
    assert!(notes(&outputs).await.is_empty());
}

/// Four days at 100, 90, 44 and 43: a dividend of 10 on the second, a split 2:1 on the third.
const DAYS: &str = "A,2024-01-02,100,100,100,100,10,\nA,2024-01-03,90,90,90,90,10,\nA,2024-01-04,44,44,44,44,20,\nA,2024-01-05,43,43,43,43,20,\nB,2024-01-02,7,7,7,7,5,\n";
const ACTIONS: &str = "symbol,date,kind,value,numerator,denominator\nA,2024-01-03,dividend,10,,\nA,2024-01-04,split,,2,1\nC,2024-01-04,split,,2,1\n";

async fn by_actions(target: Basis, normalize: Normalize, days: &str, actions: &str) -> Outputs {
    apply_with(&Adjust::by_actions(target, "actions"), normalize, days, actions).await
}

async fn apply_with(adjust: &Adjust, normalize: Normalize, days: &str, actions: &str) -> Outputs {
    let epoch = epoch();
    let input = normalized(&epoch, normalize, &format!("{HEADER}\n{days}")).await;
    let actions = relation(&epoch, vec![csv(actions, true)]);
    let inputs = Relations::new("input", BTreeMap::from([("input".into(), input), ("actions".into(), actions)]));
    adjust.apply(&inputs, &epoch).await.unwrap()
}

#[tokio::test]
async fn actions_give_split_and_total() {
    let split = by_actions(Basis::Split, Normalize::new(), DAYS, ACTIONS).await;
    assert_eq!(
        out(&split, &["symbol", "date", "close", "volume", "basis"]).await,
        [
            "A 2024-01-02 50.0 20.0 split",
            "A 2024-01-03 45.0 20.0 split",
            "A 2024-01-04 44.0 20.0 split",
            "A 2024-01-05 43.0 20.0 split",
            "B 2024-01-02 7.0 5.0 split"
        ]
    );
    let total = by_actions(Basis::Total, Normalize::new(), DAYS, ACTIONS).await;
    assert_eq!(
        out(&total, &["symbol", "close", "volume"]).await,
        ["A 43.0 20.0", "A 44.0 20.0", "A 45.0 20.0", "A 45.0 20.0", "B 7.0 5.0"]
    );
    assert!(notes(&total).await.is_empty());
    assert_eq!(total.output.unwrap().version.as_deref(), Some(REVISION));
}

#[tokio::test]
async fn split_adjusted_bars_go_on_to_total() {
    let days = "A,2024-01-02,50,50,50,50,20,\nA,2024-01-03,45,45,45,45,20,\nA,2024-01-04,44,44,44,44,20,\n";
    let total = by_actions(Basis::Total, Normalize::new().with_basis(Basis::Split), days, ACTIONS).await;
    assert_eq!(
        out(&total, &["date", "close", "volume"]).await,
        ["2024-01-02 45.0 20.0", "2024-01-03 45.0 20.0", "2024-01-04 44.0 20.0"]
    );
}

#[tokio::test]
async fn an_ex_date_without_a_bar_counts_for_the_bars_before_it() {
    let days = "A,2024-01-05,100,100,100,100,10,\nA,2024-01-08,50,50,50,50,10,\n";
    let split = by_actions(Basis::Split, Normalize::new(), days, "symbol,date,kind,value,numerator,denominator\nA,2024-01-06,split,,2,1\nA,2024-01-01,split,,5,1\nA,2024-02-01,split,,3,1\n").await;
    assert_eq!(
        out(&split, &["date", "close"]).await,
        ["2024-01-05 16.666666666666664", "2024-01-08 16.666666666666664"]
    );
}

#[tokio::test]
async fn a_split_and_a_dividend_on_one_day_are_on_the_new_terms() {
    let days = "A,2024-01-02,100,100,100,100,10,\nA,2024-01-03,45,45,45,45,10,\n";
    let total = by_actions(
        Basis::Total,
        Normalize::new(),
        days,
        "symbol,date,kind,value,numerator,denominator\nA,2024-01-03,split,,2,1\nA,2024-01-03,dividend,5,,\n",
    )
    .await;
    assert_eq!(out(&total, &["date", "close"]).await, ["2024-01-02 45.0", "2024-01-03 45.0"]);
}

#[tokio::test]
async fn a_dividend_as_large_as_the_price_gives_no_number() {
    let days = "A,2024-01-02,100,100,100,100,10,\nA,2024-01-03,45,45,45,45,10,\n";
    let total = by_actions(
        Basis::Total,
        Normalize::new(),
        days,
        "symbol,date,kind,value,numerator,denominator\nA,2024-01-03,dividend,100,1,1\n",
    )
    .await;
    assert_eq!(out(&total, &["date", "close"]).await, ["2024-01-02", "2024-01-03 45.0"]);
    assert_eq!(notes(&total).await, ["adjust.no_factor A 1 warning"]);
}

#[tokio::test]
async fn of_a_corrected_action_the_newest_version_counts() {
    let days = "A,2024-01-02,100,100,100,100,10,\nA,2024-01-03,50,50,50,50,10,\n";
    let actions = "symbol,date,kind,value,numerator,denominator,as_of\nA,2024-01-03,split,,2,1,2024-02-02\nA,2024-01-03,split,,20,1,2024-02-01\n";
    let split = by_actions(Basis::Split, Normalize::new(), days, actions).await;
    assert_eq!(out(&split, &["close"]).await, ["50.0", "50.0"]);
}

#[tokio::test]
async fn every_basis_leads_to_every_other_and_back() {
    let days = "A,2024-01-02,100,110,90,100,10,\nA,2024-01-03,51,56,46,51,20,\nA,2024-01-04,48,53,43,48,22,\nA,2024-01-05,47,52,42,47,25,\nA,2024-01-08,15,16,14,15,70,\n";
    let actions = "symbol,date,kind,value,numerator,denominator\nA,2024-01-03,split,,2,1\nA,2024-01-03,dividend,1.5,,\nA,2024-01-05,dividend,0.5,,\nA,2024-01-05,capital_gain,0.25,,\nA,2024-01-08,split,,3,1\n";
    let epoch = epoch();
    let raw = normalized(&epoch, Normalize::new(), &format!("{HEADER}\n{days}")).await;
    let to = async |input: &Relation, target: Basis| {
        let actions = relation(&epoch, vec![csv(actions, true)]);
        let inputs =
            Relations::new("input", BTreeMap::from([("input".into(), input.clone()), ("actions".into(), actions)]));
        let outputs = Adjust::by_actions(target, "actions").apply(&inputs, &epoch).await.unwrap();
        assert!(notes(&outputs).await.is_empty());
        outputs.output.unwrap()
    };
    let numbers = async |of: &Relation| {
        let sorted = of.frame.clone().sort(vec![ascending(column("ts"))]).unwrap().collect().await.unwrap();
        let mut found = Vec::new();
        for batch in &sorted {
            for name in ["open", "high", "low", "close", "volume"] {
                found.extend_from_slice(as_float64_array(batch.column_by_name(name).unwrap()).unwrap().values());
            }
        }
        found
    };
    for from in [Basis::Raw, Basis::Split, Basis::Total] {
        let there = to(&raw, from).await;
        for target in [Basis::Raw, Basis::Split, Basis::Total] {
            let (by_way, straight) = (numbers(&to(&there, target).await).await, numbers(&to(&raw, target).await).await);
            assert_eq!(by_way.len(), 25);
            let agree = by_way.iter().zip(&straight).all(|(a, b)| (a / b - 1.0).abs() < 1e-12);
            assert!(agree, "{from:?} to {target:?}: {by_way:?} {straight:?}");
        }
    }
}

#[tokio::test]
async fn of_a_moment_only_what_was_known_counts() {
    let days = "A,2024-01-02,100,100,100,100,10,\nA,2024-01-03,50,50,50,50,10,\nA,2024-01-04,25,25,25,25,10,\n";
    let actions = "symbol,date,kind,value,numerator,denominator,as_of\nA,2024-01-03,split,,2,1,2024-01-05\nA,2024-01-04,split,,2,1,2024-01-04\n";
    let closes = async |at: &str, strict: bool| {
        let adjust = Adjust::by_actions(Basis::Split, "actions").as_of(at.parse().unwrap(), strict);
        let rows = out(&apply_with(&adjust, Normalize::new(), days, actions).await, &["date", "close"]).await;
        rows.iter().map(|row| row.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(closes("2024-01-02T22:00:00Z", false).await, ["100.0", "50.0", "25.0"]);
    assert_eq!(closes("2024-01-03T00:00:00Z", false).await, ["50.0", "50.0", "25.0"]);
    assert_eq!(closes("2024-01-04T00:00:00Z", false).await, ["25.0", "25.0", "25.0"]);
    // The first split was learned a day after the second.
    assert_eq!(closes("2024-01-04T00:00:00Z", true).await, ["50.0", "25.0", "25.0"]);
    assert_eq!(closes("2024-01-05T00:00:00Z", true).await, ["25.0", "25.0", "25.0"]);
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{DAYS}")).await;
    let by_ratio = Adjust::by_ratio().as_of("2024-01-05T00:00:00Z".parse().unwrap(), false);
    assert!(refused(&by_ratio, &epoch, input).await.contains("name a relation of actions"));
}

#[tokio::test]
async fn intraday_bars_share_the_actions_of_their_day() {
    let text = format!(
        "{HEADER}\nA,2024-01-02 15:00,100,100,100,100,10,\nA,2024-01-02 15:30,90,90,90,90,10,\nA,2024-01-03 15:00,44,44,44,44,10,\n"
    );
    let epoch = epoch();
    let input = normalized(&epoch, Normalize::new().with_interval("30m".parse().unwrap()), &text).await;
    let actions = relation(
        &epoch,
        vec![csv(
            "symbol,date,kind,value,numerator,denominator\nA,2024-01-03,split,,2,1\nA,2024-01-03,dividend,4.5,,\n",
            true,
        )],
    );
    let inputs = Relations::new("input", BTreeMap::from([("input".into(), input), ("actions".into(), actions)]));
    let total = Adjust::by_actions(Basis::Total, "actions").apply(&inputs, &epoch).await.unwrap();
    assert_eq!(
        out(&total, &["ts", "close"]).await,
        ["2024-01-02T15:00:00Z 45.0", "2024-01-02T15:30:00Z 40.5", "2024-01-03T15:00:00Z 44.0"]
    );
}

#[tokio::test]
async fn missing_actions_are_an_error_and_a_registered_table_will_do() {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{DAYS}")).await;
    let adjust = Adjust::by_actions(Basis::Split, "actions");
    assert!(refused(&adjust, &epoch, input.clone()).await.contains("there is no relation `actions`"));
    epoch.session.register_batch("actions", csv(ACTIONS, true)).unwrap();
    let outputs = apply(&adjust, &epoch, input).await;
    assert_eq!(out(&outputs, &["symbol", "close"]).await[2], "A 45.0");
    assert_eq!(adjust.reads(), ["actions"]);
    assert_eq!(adjust.scope(), Scope::Symbol);
}

#[tokio::test]
async fn actions_agree_with_the_ratio_where_the_ratio_is_made_of_them() {
    let epoch = epoch();
    let total = by_actions(Basis::Total, Normalize::new(), DAYS, ACTIONS)
        .await
        .output
        .unwrap()
        .frame
        .filter(column("symbol").eq(lit("A")))
        .unwrap();
    let batches = total.sort(vec![ascending(column("ts"))]).unwrap().collect().await.unwrap();
    let closes: Vec<f64> = batches
        .iter()
        .flat_map(|it| as_float64_array(it.column_by_name("close").unwrap()).unwrap().values().to_vec())
        .collect();
    let mut rows = csv(&format!("{HEADER}\n{DAYS}"), true).slice(0, 4);
    let columns =
        rows.columns()[..7].iter().cloned().chain([Arc::new(Float64Array::from(closes.clone())) as _]).collect();
    let mut fields = rows.schema().fields().to_vec();
    fields[7] = Arc::new(arrow::datatypes::Field::new("Adj Close", arrow::datatypes::DataType::Float64, true));
    rows = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    let input = apply(&Normalize::new(), &epoch, relation(&epoch, vec![rows])).await.output.unwrap();
    let by_ratio = apply(&Adjust::by_ratio(), &epoch, input).await.output.unwrap().frame;
    let batches = by_ratio.sort(vec![ascending(column("ts"))]).unwrap().collect().await.unwrap();
    let found: Vec<f64> = batches
        .iter()
        .flat_map(|it| as_float64_array(it.column_by_name("close").unwrap()).unwrap().values().to_vec())
        .collect();
    assert!(found.iter().zip(&closes).all(|(a, b)| (a - b).abs() < 1e-12));
}
