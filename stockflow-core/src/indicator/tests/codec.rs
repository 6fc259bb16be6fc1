//! Every call survives being sent to another process.

use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    logical_plan_from_bytes, logical_plan_to_bytes, physical_plan_from_bytes, physical_plan_to_bytes,
};

use super::data::{table, wave};
use super::{assert_close, numbers, outputs, without_operator};
use crate::indicator::sample::sample_select;

fn bars() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(2);
    without_operator(config, vec![vec![table(&[("A", &wave(120, 1)), ("B", &wave(30, 2))])]])
}

const FEW: &str = "SELECT symbol, ts, rsi(close, 9) OVER w AS r, (macd(close) OVER w)['signal'] AS s, \
                   ta_sum(close, 5) OVER w AS t, ma(close, 5, 'ema') OVER w AS m, cdl_doji(open, high, low, close) OVER w AS d \
                   FROM bars WINDOW w AS (PARTITION BY symbol ORDER BY ts) ORDER BY symbol, ts";

/// The plan after a round trip gives what the plan before it gave.
async fn check_physical(sql: &str) {
    let session = bars();
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let bytes = physical_plan_to_bytes(std::sync::Arc::clone(&plan)).unwrap();
    let back = physical_plan_from_bytes(&bytes, &session.task_ctx()).unwrap();
    assert_eq!(
        displayable(plan.as_ref()).indent(true).to_string(),
        displayable(back.as_ref()).indent(true).to_string()
    );

    let before = datafusion::physical_plan::collect(plan, session.task_ctx()).await.unwrap();
    let after = datafusion::physical_plan::collect(back, session.task_ctx()).await.unwrap();
    let schema = before[0].schema();
    let [before, after] = [before, after].map(|it| arrow::compute::concat_batches(&schema, &it).unwrap());
    assert_eq!(before.num_rows(), 150);
    for index in 2..before.num_columns() {
        for (ours, theirs) in outputs(after.column(index)).iter().zip(outputs(before.column(index))) {
            assert_close(schema.field(index).name(), &numbers(ours), &numbers(&theirs));
        }
    }
}

/// The operator's node survives, too, with every function of the catalogue.
#[cfg(feature = "codec")]
#[tokio::test]
async fn the_operator_survives() {
    use crate::window::codec::StockflowCodec;
    use datafusion_proto::bytes::{
        physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
    };

    let session = bars();
    crate::window::register(&session);
    let window = "PARTITION BY symbol ORDER BY ts";
    let sql = format!("{} ORDER BY symbol, ts", sample_select(&["symbol", "ts"], "bars", window));
    let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
    let show = |plan: &std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>| {
        displayable(plan.as_ref()).indent(true).to_string()
    };
    assert!(show(&plan).contains("SymbolWindowExec"), "{}", show(&plan));
    let bytes = physical_plan_to_bytes_with_extension_codec(std::sync::Arc::clone(&plan), &StockflowCodec).unwrap();
    let back = physical_plan_from_bytes_with_extension_codec(&bytes, &session.task_ctx(), &StockflowCodec).unwrap();
    assert_eq!(show(&plan), show(&back));
    let before = datafusion::physical_plan::collect(plan, session.task_ctx()).await.unwrap();
    let after = datafusion::physical_plan::collect(back, session.task_ctx()).await.unwrap();
    let schema = before[0].schema();
    let [before, after] = [before, after].map(|it| arrow::compute::concat_batches(&schema, &it).unwrap());
    assert_eq!(before, after);

    let damaged =
        physical_plan_from_bytes_with_extension_codec(&bytes[..bytes.len() / 2], &session.task_ctx(), &StockflowCodec);
    assert!(damaged.is_err());
}

#[tokio::test]
async fn a_physical_plan_survives() {
    check_physical(FEW).await;
}

#[tokio::test]
async fn a_physical_plan_of_the_whole_catalogue_survives() {
    let window = "PARTITION BY symbol ORDER BY ts";
    check_physical(&format!("{} ORDER BY symbol, ts", sample_select(&["symbol", "ts"], "bars", window))).await;
}

/// A logical plan over a file, since a table in memory cannot be sent; before analysis and after it.
#[tokio::test]
async fn a_logical_plan_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bars.parquet");
    let file = path.to_str().unwrap();
    bars().sql(&format!("COPY bars TO '{file}'")).await.unwrap().collect().await.unwrap();
    let session = bars();
    session.deregister_table("bars").unwrap();
    session.register_parquet("bars", file, Default::default()).await.unwrap();

    let frame = session.sql(FEW).await.unwrap();
    let expected = frame.clone().collect().await.unwrap();
    let optimized = frame.clone().into_optimized_plan().unwrap();
    for plan in [frame.logical_plan().clone(), optimized] {
        let back = logical_plan_from_bytes(&logical_plan_to_bytes(&plan).unwrap(), &session.task_ctx()).unwrap();
        assert_eq!(plan.display_indent().to_string(), back.display_indent().to_string());
        let found = session.execute_logical_plan(back).await.unwrap().collect().await.unwrap();
        assert_eq!(expected, found);
    }
}
