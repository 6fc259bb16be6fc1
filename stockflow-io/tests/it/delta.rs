//! The lake's tables against the conformance kit, and a pipeline over them that is killed at every step.

#[cfg(feature = "delta")]
mod lake {
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    use arrow::record_batch::RecordBatch;
    use async_trait::async_trait;
    use datafusion::prelude::SessionContext;
    use stockflow_core::Result;
    use stockflow_core::context::EpochContext;
    use stockflow_core::memory::MemorySource;
    use stockflow_core::pipeline::{KillPoint, Pipeline, Probe, RunOptions, SinkStep, Step};
    use stockflow_core::relation::Relations;
    use stockflow_core::sink::{Sink, WriteMode};
    use stockflow_core::source::Source;
    use stockflow_core::store::CheckpointStore;
    use stockflow_core::testing::{CrashCase, KillHere, SinkCase, SinkPlace, bars, check_sink, crash_matrix, table_of};
    use stockflow_core::transform::{Clean, Normalize, Outputs, Scope, SymbolFrom, Transform};
    use stockflow_io::delta::{DeltaHistory, DeltaSink, open_table};
    use stockflow_io::file::FileSource;
    use stockflow_io::location::Location;

    use crate::support::{Folder, left_out};

    async fn read_table(url: &str) -> Result<Vec<RecordBatch>> {
        // Before the first epoch there is nothing to open.
        let Ok(table) = open_table(url).await else { return Ok(Vec::new()) };
        Ok(SessionContext::new().read_table(table)?.collect().await?)
    }

    /// New tables below a folder or a prefix.
    #[derive(Debug)]
    struct Tables {
        root: String,
        count: Mutex<u32>,
        sink: fn(&str) -> Result<DeltaSink>,
    }

    #[derive(Debug)]
    struct Table {
        url: String,
        sink: fn(&str) -> Result<DeltaSink>,
    }

    #[async_trait]
    impl SinkCase for Tables {
        async fn place(&self) -> Result<Box<dyn SinkPlace>> {
            let mut count = self.count.lock().unwrap();
            *count += 1;
            Ok(Box::new(Table { url: format!("{}/table{count}", self.root), sink: self.sink }))
        }
    }

    #[async_trait]
    impl SinkPlace for Table {
        async fn sink(&self) -> Result<Arc<dyn Sink>> {
            Ok(Arc::new((self.sink)(&self.url)?))
        }

        async fn read(&self) -> Result<Vec<RecordBatch>> {
            read_table(&self.url).await
        }
    }

    const SINKS: [fn(&str) -> Result<DeltaSink>; 4] = [
        |url| DeltaSink::new(url),
        |url| Ok(DeltaSink::new(url)?.keyless()),
        |url| Ok(DeltaSink::new(url)?.with_mode(WriteMode::Overwrite)),
        |url| Ok(DeltaSink::new(url)?.with_partition_by([""; 0])),
    ];

    async fn conforms(root: String) {
        for (number, sink) in SINKS.into_iter().enumerate() {
            let tables = Tables { root: format!("{root}/{number}"), count: Mutex::new(0), sink };
            assert_eq!(check_sink(&tables).await, Vec::new(), "sink {number}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_sink_conforms_on_disk() {
        let folder = Folder::new();
        conforms(folder.at("lake")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_sink_conforms_on_s3() {
        match (std::env::var("STOCKFLOW_S3_ENDPOINT"), std::env::var("STOCKFLOW_S3_BUCKET")) {
            (Ok(_), Ok(bucket)) => conforms(format!("s3://{bucket}/delta-{}", uuid::Uuid::new_v4().simple())).await,
            _ => left_out("Delta on S3, conformance: STOCKFLOW_S3_ENDPOINT and STOCKFLOW_S3_BUCKET are not set"),
        }
    }

    /// The mean of the last three closes.
    #[derive(Debug)]
    struct Mean3;

    #[async_trait]
    impl Transform for Mean3 {
        async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
            let input = inputs.input()?;
            let name = format!("mean3_{}", uuid::Uuid::new_v4().simple());
            epoch.session.register_table(name.as_str(), input.frame.clone().into_view())?;
            let sql = format!(
                "SELECT symbol, \"interval\", ts, avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS 2 PRECEDING) AS mean3 FROM {name}"
            );
            Ok(Outputs::one(input.with_frame(epoch.session.sql(&sql).await?).with_version(Some("revision".into()))))
        }

        fn scope(&self) -> Scope {
            Scope::Symbol
        }

        fn definition(&self) -> serde_json::Value {
            serde_json::json!({"type": "mean3"})
        }
    }

    /// Bars and means into Delta tables, the bars being the history, too; the store beside them.
    fn pipeline(root: &Path, source: impl Source + 'static, normalize: bool) -> Result<Pipeline> {
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let store = Location::parse(&at("checkpoint"))?;
        let mut builder = Pipeline::builder("test").source(source);
        if normalize {
            builder = builder.step(Step::new("normalized", Normalize::new().with_symbol(SymbolFrom::FileName)));
        }
        builder
            .step(Step::new("bars", Clean::default()))
            .step(Step::new("means", Mean3))
            .sink(SinkStep::new("bars", DeltaSink::new(at("bars"))?).relation("bars"))
            .sink(SinkStep::new("means", DeltaSink::new(at("means"))?))
            .dead_letters(DeltaSink::new(at("dead_letters"))?)
            .history("bars", Arc::new(DeltaHistory::new(at("bars"))?))
            .store(CheckpointStore::new(Arc::clone(store.store()), store.path().clone()))
            .build()
    }

    /// What readers of all tables see.
    async fn seen(root: &Path) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for table in ["bars", "bars_revisions", "means", "dead_letters"] {
            let rows = read_table(root.join(table).to_str().unwrap()).await?;
            // When something was learned, replaced or refused differs from run to run.
            let timeless = |line: String| {
                line.split(' ')
                    .filter(|cell| !["at=", "replaced_as_of="].iter().any(|column| cell.starts_with(column)))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            lines.extend(table_of(&rows)?.into_iter().map(|line| format!("{table}: {}", timeless(line))));
        }
        Ok(lines)
    }

    #[derive(Debug)]
    struct Lake {
        world: Mutex<(World, MemorySource)>,
    }

    /// A folder that is gone when the next one comes.
    #[derive(Debug)]
    struct World(tempfile::TempDir);

    impl Lake {
        fn new() -> Self {
            Self { world: Mutex::new(Self::fresh()) }
        }

        fn fresh() -> (World, MemorySource) {
            (World(tempfile::tempdir().unwrap()), MemorySource::new([stockflow_core::schema::bar_relation("raw")]))
        }

        fn push(&self, symbol: &str, closes: &[(i32, f64)], as_of: i64) {
            self.world.lock().unwrap().1.push(symbol, "raw", bars(symbol, closes, as_of).unwrap());
        }
    }

    #[async_trait]
    impl CrashCase for Lake {
        async fn reset(&self) -> Result<()> {
            *self.world.lock().unwrap() = Self::fresh();
            self.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (400, 4.0)], 1);
            self.push("BBB", &[(0, 7.0)], 2);
            Ok(())
        }

        async fn more(&self) -> Result<()> {
            // New bars, a corrected one, a late one, and something that cannot be decoded.
            self.push("AAA", &[(401, 4.5), (1, 5.0)], 3);
            self.push("BBB", &[(2, 9.0), (1, 8.0)], 4);
            self.world.lock().unwrap().1.push_undecodable("AAA", "x", "no JSON");
            Ok(())
        }

        async fn pipeline(&self) -> Result<Pipeline> {
            let world = self.world.lock().unwrap();
            pipeline(world.0.0.path(), world.1.clone(), false)
        }

        async fn read(&self) -> Result<Vec<String>> {
            let root = self.world.lock().unwrap().0.0.path().to_owned();
            seen(&root).await
        }

        fn points(&self) -> Vec<KillPoint> {
            let mut points = KillPoint::all(&["bars", "means", "dead_letters"]);
            points.retain(|point| *point != KillPoint::AfterRead);
            points
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_kill_point_within_the_process() {
        assert_eq!(crash_matrix(&Lake::new()).await, Vec::new());
    }

    // ---- the same with kill -9: this test's own binary, run again as a child

    const ROOT: &str = "STOCKFLOW_TEST_DELTA_ROOT";
    const POINT: &str = "STOCKFLOW_TEST_DELTA_KILL";

    fn file_pipeline(root: &Path) -> Result<Pipeline> {
        pipeline(root, FileSource::new(root.join("input").to_str().unwrap())?, true)
    }

    /// Not a test by itself: what the child process of the next one does.
    #[tokio::test(flavor = "multi_thread")]
    async fn child_of_the_kill_test() {
        let Ok(root) = std::env::var(ROOT) else { return };
        let root = PathBuf::from(root);
        let probe = std::env::var(POINT)
            .ok()
            .map(|point| Arc::new(KillHere { point, marker: root.join("marker") }) as Arc<dyn Probe>);
        file_pipeline(&root).unwrap().run(RunOptions { probe, ..RunOptions::default() }).await.unwrap();
    }

    fn run_child(root: &Path, point: Option<&str>) -> std::process::ExitStatus {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "delta::lake::child_of_the_kill_test", "--nocapture"])
            .env(ROOT, root)
            .env_remove(POINT);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.envs(point.map(|point| (POINT, point))).status().unwrap()
    }

    fn first_input(folder: &Folder) {
        folder.write(
            "input/AAA.csv",
            "Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,10\n2024-01-03,2,2,2,2,10\n2025-01-03,3,3,3,3,10\n",
            1,
        );
        folder.write("input/BBB.csv", "Date,Open,High,Low,Close,Volume\n2024-01-02,7,7,7,7,10\n", 2);
    }

    fn more_input(folder: &Folder) {
        folder.write(
            "input/AAA_2.csv",
            "Date,Open,High,Low,Close,Volume\n2025-01-04,4,4,4,4,10\n2024-01-03,5,5,5,5,10\nnonsense,5,5,5,5,10\n",
            3,
        );
        folder.write(
            "input/BBB_2.csv",
            "Date,Open,High,Low,Close,Volume\n2024-01-05,9,9,9,9,10\n2024-01-04,8,8,8,8,10\n",
            4,
        );
    }

    async fn undisturbed() -> Vec<String> {
        let folder = Folder::new();
        first_input(&folder);
        file_pipeline(folder.path()).unwrap().run(RunOptions::default()).await.unwrap();
        more_input(&folder);
        file_pipeline(folder.path()).unwrap().run(RunOptions::default()).await.unwrap();
        seen(folder.path()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kill_9_at_every_point() {
        let expected = undisturbed().await;
        assert!(expected.iter().any(|line| line.starts_with("bars_revisions: symbol=AAA")), "{expected:#?}");
        let mut points = KillPoint::all(&["bars", "means", "dead_letters"]);
        points.retain(|point| *point != KillPoint::AfterRead);
        for point in points {
            let folder = Folder::new();
            first_input(&folder);
            assert!(run_child(folder.path(), None).success(), "{point}");
            more_input(&folder);
            let killed = run_child(folder.path(), Some(&point.to_string()));
            assert!(!killed.success(), "{point}: the child lived");
            assert_eq!(
                std::fs::read_to_string(folder.path().join("marker")).unwrap(),
                point.to_string(),
                "the kill struck elsewhere"
            );
            for _ in 0..2 {
                assert!(run_child(folder.path(), None).success(), "{point}: after the crash");
                assert_eq!(seen(folder.path()).await.unwrap(), expected, "{point}");
            }
        }
    }
}
