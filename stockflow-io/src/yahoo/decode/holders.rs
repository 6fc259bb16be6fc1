//! Who owns a company and what its insiders do: `v10/finance/quoteSummary`.
//!
//! Every table begins with `symbol` (Utf8, not null) and ends with `as_of` (Timestamp(us, UTC), not null); shares of a whole are
//! fractions of one, dates are Date32, counts of shares and money are Float64. What Yahoo leaves out is NULL.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};

use super::error::open;
use super::json::{at, first, items};
use super::table::{Column, Kind, Table, members as members_of, schema};
use super::{NotFound, Reply, ReplyError, SymbolRequest};
use stockflow_core::schema::DeadLetter;

/// The modules to ask for, in the order of [`Holders`]'s tables.
pub const HOLDER_MODULES: [&str; 7] = [
    "majorHoldersBreakdown",
    "institutionOwnership",
    "fundOwnership",
    "insiderHolders",
    "insiderTransactions",
    "majorDirectHolders",
    "netSharePurchaseActivity",
];

const BREAKDOWN: &[Column] = &[
    Column::new("insiders_share", &["insidersPercentHeld"], Kind::Number),
    Column::new("institutions_share", &["institutionsPercentHeld"], Kind::Number),
    Column::new("institutions_float_share", &["institutionsFloatPercentHeld"], Kind::Number),
    Column::new("institutions_count", &["institutionsCount"], Kind::Count),
];

const OWNERS: &[Column] = &[
    Column::new("organization", &["organization"], Kind::Text).required(),
    Column::new("report_date", &["reportDate"], Kind::Date),
    Column::new("share", &["pctHeld"], Kind::Number),
    Column::new("position", &["position"], Kind::Number),
    Column::new("value", &["value"], Kind::Number),
    Column::new("change", &["pctChange"], Kind::Number),
];

const INSIDERS: &[Column] = &[
    Column::new("name", &["name"], Kind::Text).required(),
    Column::new("relation", &["relation"], Kind::Text),
    Column::new("transaction", &["transactionDescription"], Kind::Text),
    Column::new("transaction_date", &["latestTransDate"], Kind::Date),
    Column::new("direct_position", &["positionDirect"], Kind::Number),
    Column::new("direct_date", &["positionDirectDate"], Kind::Date),
    Column::new("indirect_position", &["positionIndirect"], Kind::Number),
    Column::new("indirect_date", &["positionIndirectDate"], Kind::Date),
];

const TRANSACTIONS: &[Column] = &[
    Column::new("name", &["filerName"], Kind::Text).required(),
    Column::new("date", &["startDate"], Kind::Date).required(),
    Column::new("ordinal", &[ORDINAL], Kind::Count).required(),
    Column::new("relation", &["filerRelation"], Kind::Text),
    Column::new("transaction", &["transactionText"], Kind::Text),
    Column::new("shares", &["shares"], Kind::Number),
    Column::new("value", &["value"], Kind::Number),
    Column::new("ownership", &["ownership"], Kind::Text),
];

const PURCHASES: &[Column] = &[
    Column::new("period", &["period"], Kind::Text),
    Column::new("buy_count", &["buyInfoCount"], Kind::Count),
    Column::new("buy_shares", &["buyInfoShares"], Kind::Number),
    Column::new("buy_share", &["buyPercentInsiderShares"], Kind::Number),
    Column::new("sell_count", &["sellInfoCount"], Kind::Count),
    Column::new("sell_shares", &["sellInfoShares"], Kind::Number),
    Column::new("sell_share", &["sellPercentInsiderShares"], Kind::Number),
    Column::new("net_count", &["netInfoCount"], Kind::Count),
    Column::new("net_shares", &["netInfoShares"], Kind::Number),
    Column::new("net_share", &["netPercentInsiderShares"], Kind::Number),
    Column::new("insider_shares", &["totalInsiderShares"], Kind::Number),
];

/// The key under which a transaction's ordinal is put into its row.
const ORDINAL: &str = "stockflow.ordinal";

/// Relation name and columns of each table, in the order of [`HOLDER_MODULES`].
const RELATIONS: [(&str, &[Column]); 7] = [
    ("holders_breakdown", BREAKDOWN),
    ("holders_institutions", OWNERS),
    ("holders_funds", OWNERS),
    ("holders_insiders", INSIDERS),
    ("insider_transactions", TRANSACTIONS),
    ("holders_direct", INSIDERS),
    ("insider_purchases", PURCHASES),
];

/// The keys under which modules keep their rows.
const OWNERSHIP_LIST: &str = "ownershipList";
const HOLDERS: &str = "holders";
const TRANSACTION_LIST: &str = "transactions";

/// The key of the rows of each module, in the order of [`HOLDER_MODULES`]; none where the module is the row.
const LISTS: [Option<&str>; 7] =
    [None, Some(OWNERSHIP_LIST), Some(OWNERSHIP_LIST), Some(HOLDERS), Some(TRANSACTION_LIST), Some(HOLDERS), None];

/// The members of the modules that are read.
pub(super) fn members() -> impl Iterator<Item = String> {
    let columns = RELATIONS.into_iter().map(|(_, columns)| columns);
    let of_module = |((module, list), columns): ((&str, Option<&str>), _)| {
        let parent = list.map_or_else(|| module.to_owned(), |list| format!("{module}.{list}"));
        members_of(&parent, columns).collect::<Vec<_>>()
    };
    let modules = HOLDER_MODULES.into_iter().zip(LISTS).zip(columns);
    // The ordinal is our own.
    modules.flat_map(of_module).filter(|it| !it.ends_with(ORDINAL))
}

/// The name and the schema of every table of [`Holders`], in the order of its fields.
pub fn holder_schemas() -> Vec<(&'static str, SchemaRef)> {
    RELATIONS.iter().map(|(name, columns)| (*name, schema(columns))).collect()
}

/// Who owns a company; a table without rows where Yahoo has nothing.
#[derive(Debug, Clone)]
pub struct Holders {
    /// One row: `insiders_share, institutions_share, institutions_float_share` (Float64, 0..1), `institutions_count` (Int64).
    pub breakdown: RecordBatch,
    /// `organization` (not null), `report_date`, `share` (0..1), `position` (shares), `value`, `change` (of the position, 0..1).
    /// The ten largest at most. Key: symbol, organization.
    pub institutions: RecordBatch,
    /// The same for funds.
    pub funds: RecordBatch,
    /// `name` (not null), `relation`, `transaction`, `transaction_date`, `direct_position`, `direct_date`, `indirect_position`,
    /// `indirect_date`. Key: symbol, name.
    pub insiders: RecordBatch,
    /// `name`, `date`, `ordinal` (not null), `relation`, `transaction`, `shares`, `value`, `ownership` (`D`irect or
    /// `I`ndirect). `value` is often missing. `ordinal` counts what one person filed for one day, from the end of Yahoo's list,
    /// which runs newest first: so a row keeps its number when others come. Key: symbol, name, date, ordinal.
    pub insider_transactions: RecordBatch,
    /// As `insiders`; mostly empty.
    pub direct_holders: RecordBatch,
    /// One row: `period` (`6m`), count, number and share of what insiders bought, sold and both (`buy_`, `sell_`, `net_` with
    /// `count`, `shares`, `share`), `insider_shares`.
    pub purchases: RecordBatch,
    /// Rows that could not be read.
    pub rejects: Vec<DeadLetter>,
    /// The modules that the reply has; those asked for and not named here are empty for this symbol.
    pub modules: Vec<&'static str>,
}

/// The holders in a reply of quoteSummary, for the first symbol of the request.
///
/// A module that is missing, an empty list and Yahoo's "No fundamentals data found" are empty tables: a fund has no holders.
/// Other modules in the reply are passed over.
///
/// # Errors
///
/// [`ReplyError::NotFound`] for a symbol that Yahoo does not know, and the reply's own failures.
pub fn holders(reply: &Reply, request: &SymbolRequest) -> Result<Holders, ReplyError> {
    let modules = match open(reply, "quoteSummary") {
        Ok(root) => match root.get("result").and_then(first) {
            Some(Value::Object(modules)) => modules.clone(),
            _ if root.get("result").and_then(Value::as_array).is_some() => Map::new(),
            _ => return Err(ReplyError::malformed(reply, "`quoteSummary.result` is no list of modules")),
        },
        Err(ReplyError::NotFound { kind: NotFound::NoModule, .. }) => Map::new(),
        Err(error) => return Err(error),
    };
    let symbol = request.symbols.first().map(|asked| asked.symbol.as_str()).unwrap_or_default();
    build(&Value::Object(modules), symbol, request)
}

fn build(modules: &Value, symbol: &str, request: &SymbolRequest) -> Result<Holders, ReplyError> {
    let mut tables = RELATIONS.map(|(relation, columns)| Table::new(relation, columns, request.as_of));
    let [breakdown, institutions, funds, insiders, transactions, direct, purchases] = &mut tables;
    let single = |table: &mut Table, module: &str| match modules.get(module) {
        None | Some(Value::Null) => {}
        Some(Value::Object(object)) if object.is_empty() => {}
        Some(row) => table.push(symbol, module, row),
    };
    single(breakdown, "majorHoldersBreakdown");
    single(purchases, "netSharePurchaseActivity");
    let list = |table: &mut Table, module: &'static str, key: &str| match modules.get(module) {
        Some(Value::Object(object)) => table.push_list(symbol, object.get(key)),
        None | Some(Value::Null) => {}
        Some(other) => table.refuse(symbol, module, "the module is no object".into(), other),
    };
    list(institutions, "institutionOwnership", OWNERSHIP_LIST);
    list(funds, "fundOwnership", OWNERSHIP_LIST);
    list(insiders, "insiderHolders", HOLDERS);
    list(direct, "majorDirectHolders", HOLDERS);
    match at(modules, &["insiderTransactions", TRANSACTION_LIST]) {
        Some(Value::Array(rows)) => push_transactions(transactions, symbol, rows),
        _ => list(transactions, "insiderTransactions", TRANSACTION_LIST),
    }
    let mut rejects = Vec::new();
    let mut finish = |table: Table| table.finish(&mut rejects);
    let [breakdown, institutions, funds, insiders, transactions, direct, purchases] = tables;
    Ok(Holders {
        breakdown: finish(breakdown)?,
        institutions: finish(institutions)?,
        funds: finish(funds)?,
        insiders: finish(insiders)?,
        insider_transactions: finish(transactions)?,
        direct_holders: finish(direct)?,
        purchases: finish(purchases)?,
        rejects,
        modules: HOLDER_MODULES.into_iter().filter(|module| modules.get(module).is_some()).collect(),
    })
}

/// Transactions have no key of their own: the same person may sell three times on a day, in equal lots.
fn push_transactions(table: &mut Table, symbol: &str, rows: &[Value]) {
    let mut counts: HashMap<String, i64> = HashMap::new();
    let ordinals: Vec<i64> = rows
        .iter()
        .rev()
        .map(|row| {
            let part =
                |key| items(row.get(key)).first().or_else(|| row.get(key)).map(Value::to_string).unwrap_or_default();
            let count = counts.entry(format!("{} {}", part("filerName"), part("startDate"))).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    for ((row_idx, row), ordinal) in rows.iter().enumerate().zip(ordinals.into_iter().rev()) {
        let mut row = row.clone();
        if let Some(object) = row.as_object_mut() {
            object.insert(ORDINAL.into(), ordinal.into());
        }
        table.push(symbol, row_idx, &row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;
    use chrono::DateTime;

    fn decode(status: u16, body: &str) -> Result<Holders, ReplyError> {
        holders(&Reply::new(status, body), &SymbolRequest::new(["AAPL"], DateTime::UNIX_EPOCH))
    }

    #[test]
    fn reads_transactions_and_numbers_them() {
        let body = r#"{"quoteSummary":{"error":null,"result":[{"insiderTransactions":{"transactions":[
            {"filerName":"X","startDate":{"raw":86400},"shares":{"raw":5},"value":{},"ownership":"D"},
            {"filerName":"X","startDate":{"raw":86400},"shares":7},
            {"filerName":"Y","startDate":86400,"shares":"Infinity"},
            {"filerName":"Z"}, 3]}}]}}"#;
        let holders = decode(200, body).unwrap();
        let columns = [1, 2, 3, 6, 7, 8];
        let table =
            pretty_format_batches(&[holders.insider_transactions.project(&columns).unwrap()]).unwrap().to_string();
        let expected = "\
+------+------------+---------+--------+-------+-----------+
| name | date       | ordinal | shares | value | ownership |
+------+------------+---------+--------+-------+-----------+
| X    | 1970-01-02 | 1       | 5.0    |       | D         |
| X    | 1970-01-02 | 0       | 7.0    |       |           |
| Y    | 1970-01-02 | 0       |        |       |           |
+------+------------+---------+--------+-------+-----------+";
        assert_eq!(table, expected);
        let reasons: Vec<_> =
            holders.rejects.iter().map(|reject| (reject.position.as_str(), reject.reason.as_str())).collect();
        assert_eq!(reasons, [("3", "no readable `startDate`"), ("4", "the row is no object")]);
        assert_eq!(holders.modules, ["insiderTransactions"]);
    }

    #[test]
    fn nothing_is_no_error_but_an_unknown_symbol_is() {
        let error = |reason: &str| {
            serde_json::json!({"quoteSummary": {"result": null, "error": {"code": "Not Found", "description": reason}}})
                .to_string()
        };
        let empty =
            decode(404, &error("No fundamentals data found for any of the summaryTypes=fundOwnership")).unwrap();
        assert_eq!((empty.funds.num_rows(), empty.breakdown.num_rows(), empty.modules.len()), (0, 0, 0));
        let unknown = decode(404, &error("Quote not found for ticker symbol: QQQ,")).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown symbol: Quote not found for ticker symbol: QQQ,");
    }

    #[test]
    fn a_module_of_another_shape_is_refused_alone() {
        let body = r#"{"quoteSummary":{"result":[{"fundOwnership":"none","insiderHolders":{"holders":{}},
            "majorHoldersBreakdown":{"insidersPercentHeld":0.5,"institutionsCount":{"raw":7}}}],"error":null}}"#;
        let holders = decode(200, body).unwrap();
        assert_eq!(holders.breakdown.num_rows(), 1);
        assert_eq!(holders.rejects.len(), 1);
        assert_eq!(holders.rejects[0].partition, "holders_funds/AAPL");
    }
}
