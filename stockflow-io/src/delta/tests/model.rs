//! The table against a map in memory: any epochs, with restarts, aborts, compaction, corrections and late bars among them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stockflow_core::sink::Sink;
use stockflow_core::token::Generation;

use super::super::{MaintainOptions, maintain};
use super::support::*;

/// What happens: symbol 0..4, day 0..800, version 0..50, close 0..6, in epochs; before each epoch a restart or a compaction.
type Step = (Vec<(u8, u16, u8, u8)>, u8);

fn make((symbol, day, version, close): (u8, u16, u8, u8)) -> Bar {
    Bar {
        ts: at("2022-01-01") + i64::from(day) * 86_400_000_000,
        ..bar(&format!("S{symbol}"), "2022-01-01", f64::from(close), &format!("2025-01-{:02}", version % 28 + 1))
    }
}

async fn check(steps: Vec<Step>) {
    let lake = Lake::new();
    let mut sink = lake.sink();
    let mut generation = 1;
    sink.open(&id(), Generation(generation)).await.unwrap();
    let mut model: BTreeMap<(String, i64), (i64, f64)> = BTreeMap::new();
    let mut replaced = 0_u64;
    for (epoch, (bars, before)) in (1..).zip(steps) {
        let bars: Vec<Bar> = bars.into_iter().map(make).collect();
        match before % 4 {
            1 => {
                drop(sink.stage(&token(epoch), &rows(&bars)).await.unwrap());
                sink = lake.sink();
                generation += 1;
                let held = sink.open(&id(), Generation(generation)).await.unwrap();
                assert_eq!(held, (epoch > 1).then(|| token(epoch - 1)));
            }
            2 if epoch > 1 => drop(maintain(lake.url("bars"), &MaintainOptions::default()).await.unwrap()),
            3 => sink.abort(sink.stage(&token(epoch), &rows(&bars)).await.unwrap()).await.unwrap(),
            _ => {}
        }
        // One of a key for the epoch: the highest version, of these the last.
        let mut latest: BTreeMap<(String, i64), (i64, f64)> = BTreeMap::new();
        for bar in &bars {
            let (key, row) = ((bar.symbol.clone().unwrap(), bar.ts), (bar.as_of, bar.close.unwrap()));
            if latest.get(&key).is_none_or(|known| known.0 <= row.0) {
                latest.insert(key, row);
            }
        }
        let mut changes = 0;
        for (key, row) in latest {
            let known = model.get(&key).copied();
            if known.is_none_or(|known| known.0 < row.0 && known.1 != row.1) {
                replaced += u64::from(known.is_some());
                changes += 1;
                model.insert(key, row);
            }
        }
        assert_eq!(write(&sink, epoch, &rows(&bars)).await.unwrap().rows, changes, "epoch {epoch}");
    }
    let expected: Vec<String> =
        model.iter().map(|((symbol, ts), (as_of, close))| format!("{symbol} {ts} {as_of} {close:.1}")).collect();
    let sql = "SELECT symbol, ts::bigint AS a, as_of::bigint AS b, close FROM t ORDER BY 1, 2";
    assert_eq!(query(&lake.url("bars"), sql).await, expected.join(" | "));
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT count(*) FROM t").await, replaced.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn any_epochs_give_the_table_that_the_rules_give(
        steps in prop::collection::vec((prop::collection::vec((0_u8..4, 0_u16..800, 0_u8..50, 0_u8..6), 0..60), any::<u8>()), 1..7),
    ) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(check(steps));
    }
}
