#![allow(clippy::unwrap_used, clippy::panic)]

use datafusion::prelude::ParquetReadOptions;

use super::*;
use crate::schema::Basis;
use crate::transform::testing::{
    self, apply, bars as bars_of, csv, epoch, from_file, notes, refused, rejects, relation, shared_file, table,
};
use crate::transform::{Normalize, SymbolFrom};

const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";

async fn clean(clean: Clean, rows: &str) -> Outputs {
    let epoch = epoch();
    let input = bars_of(&epoch, &format!("{HEADER}\n{rows}")).await;
    apply(&clean, &epoch, input).await
}

async fn kept(outputs: &Outputs) -> Vec<String> {
    table(&outputs.output.as_ref().unwrap().frame, &["symbol", "date", "close"]).await
}

#[track_caller]
fn check(found: &[String], expected: &[&str]) {
    assert_eq!(found, expected);
}

#[tokio::test]
async fn each_rule_finds_its_rows_and_counts_them_by_symbol() {
    let rows = "A,2024-01-02,2,3,1,2,10,2\nB,2024-01-02,,3,1,2,10,2\nC,2024-01-02,2,3,1,1e308,10,2\nD,2024-01-02,2,3,-1,2,10,2\nE,2024-01-02,2,3,0,2,10,2\nF,2024-01-02,2,1,3,2,10,2\nG,2024-01-02,4,3,1,2,10,2\nH,2024-01-02,2,3,1,2,0,2\nI,2024-01-02,2,3,1,NaN,10,2\nJ,2024-01-02,2,3,1,2,10,inf\nK,2024-01-02,2,3,1,2,-5,2\n";
    let outputs = clean(Clean::new(), rows).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.0"]);
    check(
        &notes(&outputs).await,
        &[
            "clean.absurd C 1 info",
            "clean.inside G 1 info",
            "clean.lost B 1 warning",
            "clean.lost C 1 warning",
            "clean.lost D 1 warning",
            "clean.lost E 1 warning",
            "clean.lost F 1 warning",
            "clean.lost G 1 warning",
            "clean.lost H 1 warning",
            "clean.lost I 1 warning",
            "clean.lost J 1 warning",
            "clean.lost K 1 warning",
            "clean.missing B 1 info",
            "clean.missing I 1 info",
            "clean.missing J 1 info",
            "clean.negative D 1 info",
            "clean.range F 1 info",
            "clean.volume H 1 info",
            "clean.volume K 1 info",
            "clean.zero E 1 info",
        ],
    );
    let refused = rejects(&outputs).await;
    assert_eq!(refused.len(), 8, "all but the two without volume: {refused:?}");
    assert!(refused.contains(&"F range: high 1.0 is below low 3.0".to_string()), "{refused:?}");
    assert!(
        refused.contains(
            &"G inside: open or close lies outside of low..high: open 4.0, high 3.0, low 1.0, close 2.0".to_string()
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_row_that_breaks_several_rules_is_counted_once() {
    let outputs = clean(Clean::new(), "A,2024-01-02,,1,3,2,0,2\nA,2024-01-03,2,3,1,2,10,2\n").await;
    check(&notes(&outputs).await, &["clean.missing A 1 info"]);
}

#[tokio::test]
async fn each_rule_can_drop_refuse_fail_or_be_off() {
    let rows = "A,2024-01-02,2,3,1,2,0,2\nA,2024-01-03,2,3,1,2,10,2\n";
    for (action, n, refused, note) in [
        (Action::Off, 2, 0, vec![]),
        (Action::Drop, 1, 0, vec!["clean.volume A 1 info"]),
        (Action::DeadLetter, 1, 1, vec!["clean.volume A 1 info"]),
        (Action::Fail, 1, 0, vec!["clean.volume A 1 fail"]),
    ] {
        let outputs = clean(Clean::new().with_rule(Rule::Volume, action), rows).await;
        assert_eq!((kept(&outputs).await.len(), rejects(&outputs).await.len()), (n, refused), "{action:?}");
        check(&notes(&outputs).await, &note);
    }
}

#[tokio::test]
async fn a_tolerance_lets_the_seventh_digit_wobble() {
    let rows = "A,2024-01-02,3.000001,3,1,2,10,2\nA,2024-01-03,3.00001,3,1,2,10,2\nA,2024-01-04,2,1,1.0000001,1,10,2\n";
    let outputs = clean(Clean::new().with_rule(Rule::Inside, Action::Drop), rows).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.0"]);
    let strict = clean(Clean::new().with_tolerance(0.0), rows).await;
    check(&kept(&strict).await, &[]);
}

#[tokio::test]
async fn instruments_without_volume_are_known_by_their_names() {
    let names = ["^GSPC", "EURUSD=X", "EUR/USD", "EURUSD", "VFIAX", "0P000071W8.TO", "MINE", "AAPL", "BTC-USD", "NFLX"];
    let rows: String = names.iter().map(|it| format!("{it},2024-01-02,2,3,1,2,0,2\n")).collect();
    let outputs = clean(Clean::new().with_symbol_without_volume("MINE"), &rows).await;
    let mut expected: Vec<String> = names[..7].iter().map(|it| format!("{it} 2024-01-02 2.0")).collect();
    expected.sort();
    assert_eq!(kept(&outputs).await, expected);
    let notes = notes(&outputs).await;
    assert_eq!(notes.iter().filter(|it| it.starts_with("clean.volume_exempt")).count(), 7, "{notes:?}");
    let negative = clean(Clean::new(), "^GSPC,2024-01-02,2,3,1,2,-1,2\n").await;
    check(&kept(&negative).await, &[]);
}

#[tokio::test]
async fn the_many_spellings_of_indices_pairs_and_funds_are_known() {
    let without = [
        "SPX",
        "spx",
        "DJI",
        "VIX",
        "I:SPX",
        "I:COMP",
        "$SPX",
        ".DJI",
        "CBOE:VIX",
        "SPX.INDX",
        "DX-Y.NYB",
        "DXY",
        "^gspc",
        "EUR_USD",
        "EUR-USD",
        "EUR.USD",
        "EUR USD",
        "FX:EURUSD",
        "C:EURUSD",
        "FX_IDC:EURUSD",
        "USDJPY.FX",
        "eurusd",
        "EURRUB",
        "USDTWD",
        "USDMYR",
        "USDIDR",
        "USDPHP",
        "XAUUSD",
        "XAGEUR",
        "XPT/USD",
        "XPDUSD",
        "JPY=X",
        "VFIAX",
    ];
    let with =
        ["AAPL", "BTC-USD", "BTCUSD", "COMP", "NFLX", "SPY", "BRK.B", "EURN", "USD", "MOEX", "GOOGL", "SPXL", "A"];
    let rows: String = without.iter().chain(&with).map(|it| format!("{it},2024-01-02,2,3,1,2,0,2\n")).collect();
    let outputs = clean(Clean::new(), &rows).await;
    let mut expected: Vec<String> = without.iter().map(|it| format!("{it} 2024-01-02 2.0")).collect();
    expected.sort();
    assert_eq!(kept(&outputs).await, expected);
    let texts = table(outputs.notes.last().unwrap(), &["symbol", "text"]).await;
    assert_eq!(texts.len(), with.len());
    assert!(texts.iter().all(|it| it.contains("name it in `symbols_without_volume`")), "{texts:?}");
}

#[tokio::test]
async fn a_volume_that_is_no_number_breaks_the_volume_rule_and_a_negative_adjusted_close_its_own() {
    let rows = "A,2024-01-02,2,3,1,2,NaN,2\nB,2024-01-02,2,3,1,2,1e300,2\nC,2024-01-02,2,3,1,2,10,-2\nD,2024-01-02,2,3,1,2,10,0\n";
    let outputs = clean(Clean::new(), rows).await;
    check(&kept(&outputs).await, &["D 2024-01-02 2.0"]);
    let notes: Vec<String> = notes(&outputs).await.into_iter().filter(|it| !it.starts_with("clean.lost")).collect();
    check(&notes, &["clean.absurd B 1 info", "clean.negative C 1 info", "clean.volume A 1 info"]);
}

#[tokio::test]
async fn a_missing_volume_passes_unless_it_is_required() {
    let rows = "A,2024-01-02,2,3,1,2,,2\n";
    check(&kept(&clean(Clean::new(), rows).await).await, &["A 2024-01-02 2.0"]);
    check(&kept(&clean(Clean::new().with_volume_required(true), rows).await).await, &[]);
}

async fn from_files(files: &[(&str, &str)]) -> Outputs {
    let epoch = epoch();
    let mut first = 0;
    let batches = files.iter().map(|(path, rows)| {
        let batch = from_file(&csv(&format!("{HEADER}\n{rows}"), false), path, first);
        first += i64::try_from(batch.num_rows()).unwrap();
        batch
    });
    let normalized = apply(&Normalize::new(), &epoch, relation(&epoch, batches.collect())).await.output.unwrap();
    apply(&Clean::new(), &epoch, normalized).await
}

#[tokio::test]
async fn of_one_key_the_later_position_stays_and_other_values_are_a_dead_letter() {
    let first = "A,2024-01-02,2,3,1,2,10,2\nA,2024-01-03,2,3,1,2,10,2\nA,2024-01-03,2,3,1,2,10,2\n";
    let second = "A,2024-01-02,2,3,1,2.5,10,2\nA,2024-01-04,2,3,1,2,10,2\n";
    let outputs = from_files(&[("a.csv", first), ("b.csv", second)]).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.5", "A 2024-01-03 2.0", "A 2024-01-04 2.0"]);
    check(&notes(&outputs).await, &["clean.conflict A 1 info", "clean.duplicate A 1 info"]);
    check(
        &rejects(&outputs).await,
        &[
            "A conflict: the epoch holds a later row with other values for the same bar: open 2.0, high 3.0, low 1.0, close 2.0",
        ],
    );
    assert_eq!(outputs.output.unwrap().schema(), bar_schema(), "the position is used and taken away");
}

#[tokio::test]
async fn the_highest_as_of_wins_whatever_its_position() {
    let epoch = epoch();
    let text = "Ticker,Date,Open,High,Low,Close,Volume,as_of\nA,2024-01-02,2,3,1,2.5,10,2024-02-02\nA,2024-01-02,2,3,1,2,10,2024-02-01\n";
    let outputs = apply(&Clean::new(), &epoch, bars_of(&epoch, text).await).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.5"]);
    check(&notes(&outputs).await, &["clean.superseded A 1 info"]);
    assert!(rejects(&outputs).await.is_empty());
}

#[tokio::test]
async fn a_broken_correction_does_not_push_out_a_good_bar() {
    let outputs =
        from_files(&[("a.csv", "A,2024-01-02,2,3,1,2,10,2\n"), ("b.csv", "A,2024-01-02,2,3,1,-2,10,2\n")]).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.0"]);
    check(&notes(&outputs).await, &["clean.negative A 1 info"]);
}

#[tokio::test]
async fn duplicates_stay_where_the_rules_are_off() {
    let all_off = [Rule::Duplicate, Rule::Superseded, Rule::Conflict]
        .into_iter()
        .fold(Clean::new(), |it, rule| it.with_rule(rule, Action::Off));
    let outputs =
        clean(all_off, "A,2024-01-02,2,3,1,2,10,2\nA,2024-01-02,2,3,1,2,10,2\nA,2024-01-02,2,3,1,1,10,2\n").await;
    assert_eq!(kept(&outputs).await.len(), 3);
    assert!(notes(&outputs).await.is_empty() && rejects(&outputs).await.is_empty());
}

#[tokio::test]
async fn forming_bars_are_not_delivered_unless_asked_for() {
    let epoch = epoch();
    let text = "Ticker,Date,Open,High,Low,Close,Volume,is_final\nA,2024-01-02,2,3,1,2,10,true\nA,2024-01-03,2,3,1,2,10,false\n";
    let outputs = apply(&Clean::new(), &epoch, bars_of(&epoch, text).await).await;
    check(&kept(&outputs).await, &["A 2024-01-02 2.0"]);
    let asked = apply(&Clean::new().with_rule(Rule::Forming, Action::Off), &epoch, bars_of(&epoch, text).await).await;
    assert_eq!(kept(&asked).await.len(), 2);
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_runs() {
    let epoch = epoch();
    let raw = || relation(&epoch, vec![csv("Ticker,Date\nA,2024-01-02\n", false)]);
    let text = refused(&Clean::new(), &epoch, raw()).await;
    assert!(
        text.starts_with("schema mismatch at clean: `symbol`, `interval`")
            && text.contains("put `normalize` before it"),
        "{text}"
    );
    for clean in [
        Clean::new().with_rule(Rule::Date, Action::Off),
        Clean::new().with_tolerance(-1.0),
        Clean::new().with_largest_price(f64::NAN),
    ] {
        assert!(refused(&clean, &epoch, raw()).await.starts_with("invalid "), "{clean:?}");
    }
}

#[tokio::test]
async fn no_rows_give_no_bars_and_no_notes() {
    let outputs = clean(Clean::new(), "").await;
    assert!(kept(&outputs).await.is_empty() && notes(&outputs).await.is_empty());
    assert_eq!(outputs.output.unwrap().schema(), bar_schema());
}

#[test]
fn words_are_read_back() {
    for rule in Rule::ALL {
        assert_eq!(rule.as_str().parse::<Rule>().unwrap(), rule);
        assert_eq!(serde_json::to_value(rule).unwrap(), rule.as_str());
    }
    assert_eq!("dead_letter".parse::<Action>().unwrap(), Action::DeadLetter);
    assert!("volum".parse::<Rule>().unwrap_err().to_string().contains("`volum` is not one of `date`"));
    assert_ne!(Clean::new().definition(), Clean::new().with_rule(Rule::Volume, Action::Off).definition());
}

#[tokio::test]
async fn the_quirks_of_five_years_of_stocks_are_found_by_name_and_no_symbol_is_lost() {
    let Some(path) = shared_file("data/prices/all_stocks_5yr.parquet") else { return };
    let epoch = epoch();
    let table = epoch.session.read_parquet(path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    let normalize = Normalize::new().with_basis(Basis::Split).with_symbol(SymbolFrom::Column("Name".into()));
    let normalized = apply(&normalize, &epoch, Relation::new(table)).await;
    assert!(rejects(&normalized).await.is_empty());
    let outputs = apply(&Clean::new(), &epoch, normalized.output.unwrap()).await;
    let refused = outputs
        .rejects
        .iter()
        .map(|it| it.clone().select(columns(["symbol", "position", "reason"])).unwrap())
        .reduce(|a, b| a.union(b).unwrap())
        .unwrap();
    let of = async |rule: &str| {
        let found = refused
            .clone()
            .filter(datafusion::functions::expr_fn::starts_with(column("reason"), lit(rule.to_string())))
            .unwrap();
        let days = testing::table(&found, &["position"]).await;
        days.into_iter().map(|it| it.split("T00:").next().unwrap().replace("1d ", "")).collect::<Vec<_>>()
    };
    let of = async |rule: &str| of(rule).await.join(",");
    let missing = of("missing").await;
    assert_eq!(missing.split(',').count(), 11, "{missing}");
    for (symbol, date) in [
        ("BHF", "2017-07-26"),
        ("DHR", "2015-07-17"),
        ("DHR", "2016-01-12"),
        ("ES", "2015-07-17"),
        ("FTV", "2016-07-01"),
        ("O", "2015-07-17"),
        ("O", "2016-01-12"),
        ("REGN", "2015-06-09"),
        ("UA", "2016-04-07"),
        ("VRTX", "2015-05-12"),
        ("WRK", "2015-06-26"),
    ] {
        assert!(
            missing.split(',').any(|it| it.starts_with(&format!("{symbol} ")) && it.ends_with(date)),
            "{symbol} {date}: {missing}"
        );
    }
    let (range, inside) = (of("range").await, of("inside").await);
    let inconsistent = [range, inside]
        .into_iter()
        .filter(|it| !it.is_empty())
        .flat_map(|it| it.split(',').map(str::to_string).collect::<Vec<_>>())
        .collect::<Vec<_>>();
    assert_eq!(inconsistent.len(), 12, "{inconsistent:?}");
    let bars = outputs.output.clone().unwrap().frame;
    let symbols = bars.clone().aggregate(vec![column("symbol")], vec![]).unwrap();
    assert_eq!(testing::count(&symbols).await, 505);
    assert_eq!(testing::count(&bars).await, 619_040 - 11 - 12, "nothing else is wrong with them");
    assert!(notes(&outputs).await.iter().all(|it| !it.contains("clean.lost")));
}
