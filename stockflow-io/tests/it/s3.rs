//! Files in a real S3 server: `STOCKFLOW_S3_ENDPOINT` and `STOCKFLOW_S3_BUCKET` say where, `AWS_*` with which keys.

#[cfg(feature = "s3")]
mod server {
    use std::sync::Arc;

    use object_store::{ObjectStoreExt, PutMode, PutOptions};
    use stockflow_core::checkpoint::Checkpoint;
    use stockflow_core::sink::Sink;
    use stockflow_core::source::{EpochLimit, Source};
    use stockflow_core::{Error, ErrorClass};
    use stockflow_io::file::{FileFormat, FileSink, FileSource, ManifestTable, SinkMode};
    use stockflow_io::location::Location;

    use crate::support::{check_table, gzip, left_out, open, read, read_from, rows, token, write};

    /// A prefix of its own in the bucket; `None` without a server.
    fn prefix(test: &str) -> Option<String> {
        let (Ok(endpoint), Ok(bucket)) = (std::env::var("STOCKFLOW_S3_ENDPOINT"), std::env::var("STOCKFLOW_S3_BUCKET"))
        else {
            left_out(&format!("{test}: STOCKFLOW_S3_ENDPOINT and STOCKFLOW_S3_BUCKET are not set"));
            return None;
        };
        assert_eq!(
            std::env::var("AWS_ENDPOINT_URL").as_deref(),
            Ok(endpoint.as_str()),
            "set AWS_ENDPOINT_URL, too: connectors read it"
        );
        Some(format!("s3://{bucket}/{test}-{}", uuid::Uuid::new_v4().simple()))
    }

    async fn put(url: &str, bytes: impl Into<object_store::PutPayload>) {
        let place = Location::parse(url).unwrap();
        place.store().put(place.path(), bytes.into()).await.unwrap();
    }

    #[tokio::test]
    async fn create_if_absent_is_kept_by_the_server() {
        let Some(prefix) = prefix("create") else { return };
        let place = Location::parse(&format!("{prefix}/x")).unwrap();
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        place.store().put_opts(place.path(), "1".into(), create()).await.unwrap();
        let second = place.store().put_opts(place.path(), "2".into(), create()).await.unwrap_err();
        assert!(
            matches!(second, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }),
            "{second:?}"
        );
        assert_eq!(place.store().get(place.path()).await.unwrap().bytes().await.unwrap(), "1");
    }

    #[tokio::test]
    async fn files_are_read_by_version() {
        let Some(prefix) = prefix("read") else { return };
        put(&format!("{prefix}/a b.csv"), "x,y\n1,é\n2,3,4\n").await;
        put(&format!("{prefix}/deep/c.csv.gz"), gzip(b"x,y\n3,z\n")).await;
        let source = FileSource::new(&prefix).unwrap();
        let sql = "SELECT source_file AS f, x, y FROM input ORDER BY f";
        let first = read(&source, sql).await;
        check_table(&first.table, &["f|x|y", "a b.csv|1|é", "deep/c.csv.gz|3|z"]);
        assert_eq!(first.reasons(), ["a b.csv@3 line 3: 3 fields where the header has 2"]);
        let (reached, limit) = (first.outcome.reached, EpochLimit::default());
        assert!(read_from(&source, &reached, &limit, sql).await.is_none());
        // The same bytes again are the same version: the tag is a hash.
        put(&format!("{prefix}/a b.csv"), "x,y\n1,é\n2,3,4\n").await;
        assert!(read_from(&source, &reached, &limit, sql).await.is_none());
        put(&format!("{prefix}/a b.csv"), "x,y\n9,new\n").await;
        let second = read_from(&source, &reached, &limit, sql).await.unwrap();
        check_table(&second.table, &["f|x|y", "a b.csv|9|new"]);
        let glob = FileSource::new(format!("{prefix}/deep/*.gz")).unwrap();
        assert_eq!(read(&glob, "SELECT x FROM input").await.files(), ["c.csv.gz"]);
    }

    #[tokio::test]
    async fn a_missing_prefix_and_a_changed_object_are_clear_errors() {
        let Some(prefix) = prefix("missing") else { return };
        put(&format!("{prefix}/bars/a.csv"), "x\n1\n").await;
        let limit = EpochLimit::default();
        let error =
            FileSource::new(format!("{prefix}/bar")).unwrap().plan(&Checkpoint::new(), &limit).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(error.to_string().contains("did you mean `bars`?"), "{error}");

        let source = FileSource::new(format!("{prefix}/bars/a.csv")).unwrap();
        let plan = source.plan(&Checkpoint::new(), &limit).await.unwrap().unwrap();
        put(&format!("{prefix}/bars/a.csv"), "x\n2\n").await;
        let scan = source.scan(&plan).await.unwrap();
        let frame =
            datafusion::prelude::SessionContext::new().read_table(Arc::clone(&scan.relations["input"])).unwrap();
        let error = Error::from(frame.collect().await.unwrap_err());
        assert!(error.is_pin_lost(), "{error:?}");
    }

    #[tokio::test]
    async fn a_large_object_goes_up_in_parts_and_comes_back() {
        let Some(prefix) = prefix("large") else { return };
        let sink = FileSink::csv(format!("{prefix}/big.csv"), SinkMode::Overwrite).unwrap();
        open(&sink, 1).await;
        let context = datafusion::prelude::SessionContext::new();
        let frame = context.sql("SELECT value AS n, 'a row that is long enough to fill parts ' || value AS text FROM generate_series(1, 400000)").await.unwrap();
        let relation = stockflow_core::relation::RelationSchema::new("x", Arc::new(frame.schema().as_arrow().clone()));
        let written = write(&sink, 1, &stockflow_core::sink::EpochRows::new(relation, frame)).await;
        assert!(written.bytes.unwrap() > 20 << 20, "{written:?}");
        let source = FileSource::new(format!("{prefix}/big.csv")).unwrap();
        let found = read(&source, "SELECT count(*) AS c, sum(n) AS s FROM input").await;
        check_table(&found.table, &["c|s", "400000|80000200000"]);
        let again = FileSink::csv(format!("{prefix}/big.csv"), SinkMode::Overwrite).unwrap();
        assert_eq!(open(&again, 2).await, Some(token(1)), "the token is found by the object's hash");
    }

    #[tokio::test]
    async fn both_modes_hold_tokens_and_fence() {
        let Some(prefix) = prefix("sink") else { return };
        for mode in [SinkMode::Append, SinkMode::Overwrite] {
            for format in [FileFormat::Parquet, FileFormat::Csv, FileFormat::Ndjson] {
                let url = format!("{prefix}/{mode}/out.{format}");
                let sink = || FileSink::new(&url, format, mode).unwrap();
                let (old, new) = (sink(), sink());
                assert_eq!(open(&old, 1).await, None);
                write(&old, 1, &rows(&[&[("A", 1, Some(1.5))], &[("B", 2, None)]])).await;
                let staged = old.stage(&token(2), &rows(&[&[("old", 3, None)]])).await.unwrap();
                assert_eq!(open(&new, 2).await, Some(token(1)));
                write(&new, 2, &rows(&[&[("new", 3, None)]])).await;
                let error = old.commit(staged).await.unwrap_err();
                assert!(matches!(error, Error::Fenced { own: 1, newer: 2, .. }), "{url}: {error:?}");
                assert_eq!(open(&sink(), 3).await, Some(token(2)), "{url}");
                if mode == SinkMode::Append {
                    let context = datafusion::prelude::SessionContext::new();
                    context.register_table("t", Arc::new(ManifestTable::open(&url).await.unwrap())).unwrap();
                    let frame = context.sql("SELECT symbol, n FROM t ORDER BY n").await.unwrap();
                    check_table(&frame.to_string().await.unwrap(), &["symbol|n", "A|1", "B|2", "new|3"]);
                }
            }
        }
    }
}

#[cfg(not(feature = "s3"))]
#[test]
fn without_the_feature_the_feature_is_named() {
    let error = stockflow_io::location::Location::parse("s3://bucket/x").unwrap_err();
    assert!(error.to_string().contains("cargo feature `s3`"), "{error}");
}
