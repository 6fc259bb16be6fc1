//! A SELECT over the relations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, cast};
use datafusion::prelude::{DataFrame, SQLOptions};

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use serde_json::json;

use super::{Outputs, Scope, Transform};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::indicator::KERNEL_VERSION;
use crate::relation::{Relation, Relations};

/// A SELECT over the relations and the registered tables.
///
/// # Input
///
/// The step's input under the name `input`, every relation and every reference table under its own (`bars`,
/// `quality`, further outputs of a step as `step.name`), and all functions of the session, the indicators among them.
///
/// # Output
///
/// What the query gives, with text as Utf8. Without key and version, unless they are declared; then they must be columns.
/// `now()` is the epoch's time.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the text is not one single SELECT, or uses a function that gives something else each
/// time (`random()`, `uuid()`); [`Error::Query`] if it does not fit the tables; [`Error::Schema`] if a column occurs twice or
/// the declared key is not among them.
#[derive(Debug, Clone)]
pub struct Sql {
    query: String,
    canonical: String,
    reads: Vec<String>,
    key: Vec<String>,
    version: Option<String>,
}

/// The name of the step's input in a query.
const INPUT: &str = "input";

impl Sql {
    /// A query, parsed but not planned.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if it is not one single SELECT.
    pub fn new(query: impl Into<String>) -> Result<Self> {
        let query = query.into();
        let statement = parse(&query)?;
        let (tables, _) = resolve_table_references(&statement, true)?;
        let reads: BTreeSet<String> = tables.iter().filter_map(relation_name).filter(|it| it != INPUT).collect();
        Ok(Self {
            canonical: statement.to_string(),
            query,
            reads: reads.into_iter().collect(),
            key: Vec::new(),
            version: None,
        })
    }

    /// Declares the key of the output.
    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// Declares the version column of the output; `revision` is added by the engine.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    fn check(&self, output: &Relation) -> Result<()> {
        let revision = crate::relation::REVISION;
        let missing: Vec<&str> = self
            .key
            .iter()
            .chain(self.version.iter().filter(|it| *it != revision))
            .map(String::as_str)
            .filter(|it| !output.has(it))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = super::expr::column_names(output);
        Err(Error::schema(
            "sql",
            format!("`{}` is declared as key or version, but the query gives `{names}`", missing.join("`, `")),
        ))
    }
}

/// The one statement, if it is a query.
fn parse(query: &str) -> Result<Statement> {
    let refuse = |reason: String| Error::parameter("sql", "query", reason);
    let mut statements = DFParser::parse_sql(query)
        .map_err(|error| refuse(format!("it cannot be read: {}", error.strip_backtrace())))?;
    match (statements.pop_front(), statements.pop_front()) {
        (Some(statement), None) if matches!(&statement, Statement::Statement(ast) if matches!(ast.as_ref(), Ast::Query(_))) => {
            Ok(statement)
        }
        (Some(_), None) => {
            Err(refuse("only SELECT (or WITH … SELECT) is allowed; a transform changes nothing but its output".into()))
        }
        (None, _) => Err(refuse("it is empty".into())),
        (Some(_), Some(_)) => Err(refuse("it holds several statements; give each its own step".into())),
    }
}

/// The relation that a table's name means: `bars`, or `bars.extra` for a further output of a step.
fn relation_name(table: &TableReference) -> Option<String> {
    match table {
        TableReference::Bare { table } => Some(table.to_string()),
        TableReference::Partial { schema, table } => Some(format!("{schema}.{table}")),
        TableReference::Full { .. } => None,
    }
}

#[async_trait]
impl Transform for Sql {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        let state = session_over(inputs, epoch)?;
        let plan = state.statement_to_plan(parse(&self.query)?).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        refuse_volatile(&plan)?;
        let frame = plain(DataFrame::new(epoch.session.state(), plan))?;
        let output = Relation::new(frame).with_key(self.key.iter().cloned()).with_version(self.version.clone());
        self.check(&output)?;
        Ok(Outputs::one(output))
    }

    fn reads(&self) -> Vec<String> {
        self.reads.clone()
    }

    /// Only where it is read nowhere else in the query is it known to be read once.
    fn reads_once(&self) -> bool {
        self.canonical.to_ascii_lowercase().matches(INPUT).count() == 1 && self.reads.is_empty()
    }

    fn scope(&self) -> Scope {
        Scope::ByPlan
    }

    fn definition(&self) -> serde_json::Value {
        // Kernels that give other numbers make what is kept of them worthless.
        json!({ "type": "sql", "query": self.canonical, "key": self.key, "version": self.version, "kernel": KERNEL_VERSION })
    }
}

/// Columns under their plain names, text as Utf8.
fn plain(frame: DataFrame) -> Result<DataFrame> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (column, field) in frame.schema().columns().into_iter().zip(frame.schema().fields()) {
        let name = column.name.clone();
        if !seen.insert(name.clone()) {
            return Err(Error::schema(
                "sql",
                format!("the query gives the column `{name}` twice; name one of them with AS"),
            ));
        }
        let value = Expr::Column(column);
        let value = match field.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 => cast(value, DataType::Utf8),
            DataType::BinaryView => cast(value, DataType::Binary),
            _ => value,
        };
        out.push(value.alias(name));
    }
    Ok(frame.select(out)?)
}

fn refuse_volatile(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|it| {
                if it.is_volatile_node() {
                    found = Some(it.to_string());
                }
                Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    match found {
        Some(call) => Err(Error::parameter(
            "sql",
            "query",
            format!("`{call}` gives something else each time, so an epoch that is run again would not be the same"),
        )),
        None => Ok(()),
    }
}

/// A session of its own in which the relations are tables; nothing is left in the shared one.
fn session_over(inputs: &Relations, epoch: &EpochContext) -> Result<SessionState> {
    let state = epoch.session.state();
    let (catalog_name, schema_name) = {
        let names = &state.config_options().catalog;
        (names.default_catalog.clone(), names.default_schema.clone())
    };
    let below = Arc::clone(state.catalog_list());
    let default = below.catalog(&catalog_name);
    let mut schemas: BTreeMap<String, Overlay> = BTreeMap::new();
    let mut add = |name: &str, relation: &Relation| {
        let (schema, table) = name.split_once('.').unwrap_or((&schema_name, name));
        let overlay = schemas.entry(schema.to_string()).or_insert_with(|| Overlay {
            own: BTreeMap::new(),
            below: default.as_ref().and_then(|it| it.schema(schema)),
        });
        overlay.own.insert(table.to_string(), relation.frame.clone().into_view());
    };
    inputs.iter().for_each(|(name, relation)| add(name, relation));
    add(INPUT, inputs.input()?);
    let catalog = MemoryCatalogProvider::new();
    if let Some(default) = &default {
        for name in default.schema_names() {
            if let Some(schema) = default.schema(&name) {
                catalog.register_schema(&name, schema)?;
            }
        }
    }
    for (name, overlay) in schemas {
        catalog.register_schema(&name, Arc::new(overlay))?;
    }
    let list = MemoryCatalogProviderList::new();
    for name in below.catalog_names() {
        if let Some(other) = below.catalog(&name) {
            list.register_catalog(name, other);
        }
    }
    list.register_catalog(catalog_name, Arc::new(catalog));
    Ok(SessionStateBuilder::new_from_existing(state).with_catalog_list(Arc::new(list)).build())
}

/// Relations before the tables that are registered under the same names.
#[derive(Debug)]
struct Overlay {
    own: BTreeMap<String, Arc<dyn TableProvider>>,
    below: Option<Arc<dyn SchemaProvider>>,
}

#[async_trait]
impl SchemaProvider for Overlay {
    fn table_names(&self) -> Vec<String> {
        let below = self.below.iter().flat_map(|it| it.table_names()).filter(|it| !self.own.contains_key(it));
        self.own.keys().cloned().chain(below).collect()
    }

    async fn table(&self, name: &str) -> PlanResult<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match (self.own.get(name), &self.below) {
            (Some(own), _) => Ok(Some(Arc::clone(own))),
            (None, Some(below)) => below.table(name).await,
            (None, None) => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.below.as_ref().is_some_and(|it| it.table_exist(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::transform::scope_of;
    use crate::transform::testing::{apply, bars, csv, epoch, inputs, refused, table};

    const BARS: &str = "Ticker,Date,Open,High,Low,Close,Volume\nA,2024-01-02,1,3,1,2,10\nA,2024-01-03,1,3,1,4,10\nB,2024-01-02,1,3,1,5,10\n";

    async fn run(query: &str) -> Vec<String> {
        let epoch = epoch();
        let input = bars(&epoch, BARS).await;
        let output = apply(&Sql::new(query).unwrap(), &epoch, input).await.output.unwrap();
        let names: Vec<String> = output.schema().fields().iter().map(|it| it.name().clone()).collect();
        table(&output.frame, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    #[tokio::test]
    async fn selects_from_its_input_and_from_tables() {
        assert_eq!(run("SELECT symbol, avg(close) AS mean FROM input GROUP BY symbol").await, ["A 3.0", "B 5.0"]);
        assert_eq!(run("WITH a AS (SELECT * FROM input WHERE symbol = 'A') SELECT count(*) AS n FROM a").await, ["2"]);
        let epoch = epoch();
        epoch.session.register_batch("sectors", csv("symbol,sector\nA,tech\n", true)).unwrap();
        let sql = Sql::new(
            "SELECT s.sector, max(b.close) AS top FROM input b JOIN sectors s ON s.symbol = b.symbol GROUP BY s.sector",
        )
        .unwrap();
        assert_eq!(sql.reads(), ["sectors"]);
        let output = apply(&sql, &epoch, bars(&epoch, BARS).await).await.output.unwrap();
        assert_eq!(table(&output.frame, &["sector", "top"]).await, ["tech 4.0"]);
    }

    #[tokio::test]
    async fn relations_come_before_tables_and_leave_nothing_behind() {
        let epoch = epoch();
        let bars = bars(&epoch, BARS).await;
        epoch.session.register_batch("bars", csv("close\n-1\n", true)).unwrap();
        let all = Relations::new(
            "bars",
            BTreeMap::from([("bars".to_string(), bars.clone()), ("clean.extra".to_string(), bars)]),
        );
        let outputs = Sql::new("SELECT max(b.close) AS top, count(*) AS n FROM bars b, clean.extra e")
            .unwrap()
            .apply(&all, &epoch)
            .await
            .unwrap();
        assert_eq!(table(&outputs.output.unwrap().frame, &["top", "n"]).await, ["5.0 9"]);
        assert!(!epoch.session.table_exist("input").unwrap());
        let left = epoch.session.sql("SELECT close FROM bars").await.unwrap();
        assert_eq!(table(&left, &["close"]).await, ["-1"], "the shared session is as it was");
    }

    #[test]
    fn only_one_select_is_allowed() {
        for (query, reason) in [
            ("", "it is empty"),
            ("SELECT 1; SELECT 2", "several statements"),
            ("DROP TABLE bars", "only SELECT"),
            ("INSERT INTO bars SELECT * FROM input", "only SELECT"),
            ("COPY input TO 'x.csv'", "only SELECT"),
            ("SET a = 1", "only SELECT"),
            ("EXPLAIN SELECT 1", "only SELECT"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'", "only SELECT"),
            ("SELEC 1", "cannot be read"),
        ] {
            let error = Sql::new(query).unwrap_err().to_string();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }

    #[tokio::test]
    async fn what_changes_each_time_is_refused_and_now_is_not() {
        let epoch = epoch();
        let input = bars(&epoch, BARS).await;
        for query in [
            "SELECT random() AS r FROM input",
            "SELECT symbol FROM input WHERE close > (SELECT random())",
            "SELECT uuid() AS u",
        ] {
            let error = refused(&Sql::new(query).unwrap(), &epoch, input.clone()).await;
            assert!(error.contains("gives something else each time"), "{query}: {error}");
        }
        assert_eq!(run("SELECT count(now()) AS n FROM input").await, ["3"]);
    }

    #[tokio::test]
    async fn errors_name_the_nearest_column_and_the_table() {
        let epoch = epoch();
        let input = bars(&epoch, BARS).await;
        let error = refused(&Sql::new("SELECT clos FROM input").unwrap(), &epoch, input.clone()).await;
        assert!(error.contains("clos") && error.contains("close"), "{error}");
        let error = refused(&Sql::new("SELECT * FROM nowhere").unwrap(), &epoch, input.clone()).await;
        assert!(error.contains("nowhere"), "{error}");
        let error = refused(
            &Sql::new("SELECT a.symbol, b.symbol FROM input a JOIN input b ON a.ts = b.ts").unwrap(),
            &epoch,
            input.clone(),
        )
        .await;
        assert!(error.contains("twice"), "{error}");
        let error =
            refused(&Sql::new("SELECT symbol FROM input").unwrap().with_key(["symbol", "ts"]), &epoch, input).await;
        assert!(error.contains("`ts` is declared as key or version, but the query gives `symbol`"), "{error}");
    }

    #[tokio::test]
    async fn its_scope_can_be_read_off_its_plan() {
        let epoch = epoch();
        let schema = crate::schema::bar_schema();
        let empty = Relation::new(epoch.table(Arc::clone(&schema), vec![vec![]]).unwrap());
        for (query, scope) in [
            ("SELECT symbol, close * 2 AS twice FROM input", Scope::Row),
            (
                "SELECT symbol, avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS 19 PRECEDING) AS ma_20 FROM input",
                Scope::Symbol,
            ),
            ("SELECT date, avg(close) AS mean FROM input GROUP BY date", Scope::Everything),
        ] {
            let output = Sql::new(query).unwrap().apply(&inputs(empty.clone()), &epoch).await.unwrap().output.unwrap();
            assert_eq!(scope_of(output.frame.logical_plan()), scope, "{query}");
        }
    }

    #[test]
    fn the_definition_does_not_depend_on_blanks() {
        let one = Sql::new("SELECT symbol\n  FROM input -- all of them").unwrap().with_key(["symbol"]);
        assert_eq!(one.definition(), Sql::new("select symbol from input").unwrap().with_key(["symbol"]).definition());
        assert_ne!(one.definition(), Sql::new("SELECT symbol FROM input").unwrap().definition());
    }
}
