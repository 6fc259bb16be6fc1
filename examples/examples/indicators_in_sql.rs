//! Shows the indicators as SQL window functions over a CSV file, without any pipeline.
//!
//! Run it from the repository's folder with `cargo run -p stockflow-examples --example indicators_in_sql`.
//!
//! ```text
//! +------------+--------+---------+--------+
//! | Date       | Close  | sma_20  | rsi_14 |
//! +------------+--------+---------+--------+
//! | 2013-03-01 | 202.91 | 200.65  | 59.45  |
//! | 2013-02-28 | 200.83 | 200.71  | 51.15  |
//! | 2013-02-27 | 202.33 | 200.86  | 58.12  |
//! +------------+--------+---------+--------+
//! ```

use std::error::Error;

use datafusion::prelude::{CsvReadOptions, SessionContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let session = SessionContext::new();
    stockflow_core::functions::register(&session)?;
    session.register_csv("ibm", "examples/data/IBM.csv", CsvReadOptions::new()).await?;
    let latest = session
        .sql(
            r#"SELECT "Date", "Close", round(sma("Close", 20) OVER w, 2) AS sma_20, round(rsi("Close", 14) OVER w, 2) AS rsi_14
               FROM ibm WINDOW w AS (ORDER BY "Date") ORDER BY "Date" DESC LIMIT 3"#,
        )
        .await?;
    latest.show().await?;
    Ok(())
}
