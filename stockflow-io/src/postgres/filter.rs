//! Filters of a query as SQL, so that the server sends fewer rows. DataFusion looks again, so more rows than wanted do no harm.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use super::name::{quoted, text};
use super::types::Wire;

/// The filter as SQL over columns `s.…` of these forms; `None` where the two sides might not mean the same.
pub(super) fn sql(filter: &Expr, columns: &dyn Fn(&str) -> Option<Wire>) -> Option<String> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            // Either half alone lets more rows through, which is allowed.
            match (sql(left, columns), sql(right, columns)) {
                (Some(left), Some(right)) => Some(format!("({left} AND {right})")),
                (left, right) => left.or(right),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(format!("({} OR {})", sql(left, columns)?, sql(right, columns)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => compared(&column.name, *op, value, columns),
            (Expr::Literal(value, _), Expr::Column(column)) => compared(&column.name, op.swap()?, value, columns),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            match (expr.as_ref(), low.as_ref(), high.as_ref()) {
                (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                    let low = compared(&column.name, Operator::GtEq, low, columns)?;
                    Some(format!("({low} AND {})", compared(&column.name, Operator::LtEq, high, columns)?))
                }
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated: false }) => match expr.as_ref() {
            Expr::Column(column) => {
                let one = |value: &Expr| match value {
                    Expr::Literal(value, _) => compared(&column.name, Operator::Eq, value, columns),
                    _ => None,
                };
                let any = list.iter().map(one).collect::<Option<Vec<_>>>()?;
                (!any.is_empty()).then(|| format!("({})", any.join(" OR ")))
            }
            _ => None,
        },
        Expr::IsNull(inner) => is_null(inner, "IS NULL", columns),
        Expr::IsNotNull(inner) => is_null(inner, "IS NOT NULL", columns),
        _ => None,
    }
}

fn is_null(inner: &Expr, test: &str, columns: &dyn Fn(&str) -> Option<Wire>) -> Option<String> {
    match inner {
        // An infinite time is read as NULL.
        Expr::Column(column) if !matches!(columns(&column.name)?, Wire::Date | Wire::Timestamp | Wire::Timestamptz) => {
            Some(format!("s.{} {test}", quoted(&column.name)))
        }
        _ => None,
    }
}

fn compared(
    column: &str,
    operator: Operator,
    value: &ScalarValue,
    columns: &dyn Fn(&str) -> Option<Wire>,
) -> Option<String> {
    let wire = columns(column)?;
    let sign = match operator {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    };
    // Texts are ordered by the database's collation there and by bytes here; what is equal is equal in both.
    if wire == Wire::Text && !matches!(operator, Operator::Eq | Operator::NotEq) {
        return None;
    }
    Some(format!("s.{} {sign} {}", quoted(column), literal(value, wire)?))
}

fn literal(value: &ScalarValue, wire: Wire) -> Option<String> {
    use ScalarValue as S;
    Some(match (wire, value) {
        (Wire::Bool, S::Boolean(Some(value))) => value.to_string(),
        (
            Wire::Int2 | Wire::Int4 | Wire::Int8,
            S::Int8(Some(_)) | S::Int16(Some(_)) | S::Int32(Some(_)) | S::Int64(Some(_)),
        ) => value.to_string(),
        // A real is compared as it is; a decimal number as the nearest float, as it is read.
        (Wire::Float8, S::Float64(Some(value))) if value.is_finite() => format!("{value:e}::float8"),
        (Wire::Text, S::Utf8(Some(value)) | S::LargeUtf8(Some(value)) | S::Utf8View(Some(value)))
            if !value.contains('\0') =>
        {
            text(value)
        }
        (Wire::Date, S::Date32(Some(days))) => format!("(DATE '1970-01-01' + {days})"),
        (Wire::Timestamptz, S::TimestampMicrosecond(Some(micros), Some(_))) => {
            format!("(TIMESTAMPTZ '1970-01-01 00:00:00+00' + {micros} * INTERVAL '1 microsecond')")
        }
        (Wire::Timestamp, S::TimestampMicrosecond(Some(micros), None)) => {
            format!("(TIMESTAMP '1970-01-01 00:00:00' + {micros} * INTERVAL '1 microsecond')")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[track_caller]
    fn check(filter: Expr, expected: Option<&str>) {
        let columns = |name: &str| match name {
            "symbol" => Some(Wire::Text),
            "close" => Some(Wire::Float8),
            "n" => Some(Wire::Int8),
            "day" => Some(Wire::Date),
            _ => None,
        };
        assert_eq!(sql(&filter, &columns).as_deref(), expected);
    }

    #[test]
    fn what_means_the_same_is_handed_on() {
        check(col("symbol").eq(lit("O'Neil")), Some("s.\"symbol\" = 'O''Neil'"));
        check(lit(5_i64).lt(col("n")), Some("s.\"n\" > 5"));
        check(
            col("close").gt(lit(1.5)).and(col("day").lt_eq(lit(ScalarValue::Date32(Some(19_723))))),
            Some("(s.\"close\" > 1.5e0::float8 AND s.\"day\" <= (DATE '1970-01-01' + 19723))"),
        );
        check(col("n").in_list(vec![lit(1_i64), lit(2_i64)], false), Some("(s.\"n\" = 1 OR s.\"n\" = 2)"));
        check(col("n").between(lit(1_i64), lit(2_i64)), Some("(s.\"n\" >= 1 AND s.\"n\" <= 2)"));
        check(col("n").is_null(), Some("s.\"n\" IS NULL"));
    }

    #[test]
    fn what_might_not_stays_here() {
        check(col("symbol").lt(lit("B")), None);
        check(col("n").eq(lit(1_i64)).and(col("unknown").eq(lit(1_i64))), Some("s.\"n\" = 1"));
        check(col("n").eq(lit(1_i64)).or(col("unknown").eq(lit(1_i64))), None);
        check(col("day").is_not_null(), None);
        check((col("n") + lit(1_i64)).eq(lit(2_i64)), None);
    }
}
