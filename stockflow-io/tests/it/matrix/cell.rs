//! A pipeline from one kind of source to one kind of sink, over places of its own. Plain data: a child process gets it as JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stockflow_core::Result;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::pipeline::{Pipeline, SinkStep, Step};
use stockflow_core::retry::Backoff;
use stockflow_core::schema::{BAR_KEY, bar_relation, bar_schema};
use stockflow_core::sink::{Sink, WriteMode};
use stockflow_core::source::Source;
use stockflow_core::store::CheckpointStore;
use stockflow_core::transform::Sql;
use stockflow_io::delta::DeltaSink;
use stockflow_io::file::FileSource;
use stockflow_io::kafka::{KafkaOptions, KafkaSink, KafkaSource};

use super::fault::Striker;
use super::flaw::Flaw;
use super::halfway::Halfway;
use super::servers::{Server, Servers};
use crate::elastic::server::Place as Index;
use crate::kafka::broker::Broker;
use crate::postgres::server::Place;

/// Partitions of the topics.
pub(super) const PARTITIONS: i32 = 2;
/// How long an answer of a broker is waited for: less than it takes to start one, so that the outage must be waited out.
const PATIENCE: Duration = Duration::from_secs(3);
/// An outage is waited out, and found to be over soon.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(50),
    max: Duration::from_millis(500),
    deadline: Some(Duration::from_secs(300)),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SourceKind {
    File,
    Kafka,
}

impl SourceKind {
    pub(super) const ALL: [Self; 2] = [Self::File, Self::Kafka];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Kafka => "kafka",
        }
    }

    pub(super) fn server(self) -> Option<Server> {
        match self {
            Self::File => None,
            Self::Kafka => Some(Server::Kafka),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SinkKind {
    DeltaAppend,
    DeltaMerge,
    Kafka,
    PostgresAppend,
    PostgresMerge,
    Elastic,
}

impl SinkKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DeltaAppend => "delta append",
            Self::DeltaMerge => "delta merge",
            Self::Kafka => "kafka",
            Self::PostgresAppend => "postgres append",
            Self::PostgresMerge => "postgres merge",
            Self::Elastic => "elasticsearch",
        }
    }

    pub(super) fn server(self) -> Option<Server> {
        match self {
            Self::DeltaAppend | Self::DeltaMerge => None,
            Self::Kafka => Some(Server::Kafka),
            Self::PostgresAppend | Self::PostgresMerge => Some(Server::Postgres),
            Self::Elastic => Some(Server::Elasticsearch),
        }
    }

    pub(super) fn mode(self) -> WriteMode {
        match self {
            Self::DeltaMerge | Self::PostgresMerge | Self::Elastic => WriteMode::Merge,
            Self::DeltaAppend | Self::Kafka | Self::PostgresAppend => WriteMode::Append,
        }
    }

    /// Whether an epoch becomes visible as a whole.
    pub(super) fn has_transactions(self) -> bool {
        self != Self::Elastic
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) source: SourceKind,
    pub(super) sink: SinkKind,
    /// The pipeline's, the topics' and the schema's name: nobody else has it.
    pub(super) name: String,
    /// Input, checkpoint store and tables.
    pub(super) folder: PathBuf,
    servers: Servers,
}

/// What is done to a pipeline besides running it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rig {
    pub(super) striker: Option<Arc<Striker>>,
    pub(super) flaw: Option<Flaw>,
}

impl Cell {
    /// New places for a pipeline.
    pub(super) async fn new(source: SourceKind, sink: SinkKind, servers: &Servers, folder: &Path) -> Self {
        let cell = Self {
            source,
            sink,
            name: format!("cell_{}", uuid::Uuid::new_v4().simple()),
            folder: folder.to_path_buf(),
            servers: servers.clone(),
        };
        for name in ["input", "store"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        if source == SourceKind::Kafka {
            cell.broker().create(&cell.input(), PARTITIONS, &[]).await;
        }
        match sink {
            SinkKind::DeltaAppend | SinkKind::DeltaMerge => {}
            SinkKind::Kafka => {
                cell.broker().create(&cell.at("bars"), PARTITIONS, &[]).await;
                cell.broker().create(&cell.at("letters"), 1, &[]).await;
            }
            SinkKind::PostgresAppend | SinkKind::PostgresMerge => {
                cell.place().run(&format!("CREATE SCHEMA {}", cell.name)).await;
            }
            SinkKind::Elastic => {}
        }
        cell
    }

    fn brokers(&self) -> String {
        self.servers.kafka.clone().unwrap()
    }

    pub(super) fn broker(&self) -> Broker {
        Broker(self.brokers())
    }

    pub(super) fn place(&self) -> Place {
        let (url, password) = self.servers.postgres.clone().unwrap();
        Place { url, password, schema: self.name.clone() }
    }

    pub(super) fn index(&self, at: &str) -> Index {
        self.servers.elasticsearch.as_ref().unwrap().index(at)
    }

    fn kafka(&self) -> KafkaOptions {
        KafkaOptions::new(self.brokers()).with_timeout(PATIENCE)
    }

    /// Where a topic, a table or a folder of this cell is.
    pub(super) fn at(&self, what: &str) -> String {
        match self.sink {
            SinkKind::DeltaAppend | SinkKind::DeltaMerge => self.folder.join(what).to_str().unwrap().to_owned(),
            SinkKind::Kafka | SinkKind::Elastic => format!("{}-{what}", self.name),
            SinkKind::PostgresAppend | SinkKind::PostgresMerge => what.to_owned(),
        }
    }

    /// The topic that is read.
    pub(super) fn input(&self) -> String {
        format!("{}-input", self.name)
    }

    pub(super) fn store(&self) -> CheckpointStore {
        let store = object_store::local::LocalFileSystem::new_with_prefix(self.folder.join("store")).unwrap();
        CheckpointStore::new(Arc::new(store), "")
    }

    /// Whether a checkpoint says that the row at a place of the source is out.
    pub(super) fn is_out(&self, checkpoint: &Checkpoint, partition: &str, position: i64) -> bool {
        match self.source {
            SourceKind::File => checkpoint.get(partition).is_some(),
            SourceKind::Kafka => checkpoint.get(partition).is_some_and(|next| {
                let offset = next.split_once('#').map_or(next, |(offset, _)| offset);
                position < offset.parse::<i64>().unwrap()
            }),
        }
    }

    fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(match self.source {
            SourceKind::File => {
                let columns = bar_schema();
                let columns = columns.fields().iter().map(|it| (it.name().as_str(), it.data_type().clone()));
                Arc::new(FileSource::new(self.folder.join("input").to_str().unwrap())?.with_columns(columns))
            }
            SourceKind::Kafka => Arc::new(KafkaSource::new(self.kafka(), self.input(), bar_relation("input"))),
        })
    }

    fn sink(&self, flaw: Option<Flaw>) -> Result<Arc<dyn Sink>> {
        let (at, mode) = (self.at("bars"), self.sink.mode());
        let sink: Arc<dyn Sink> = match self.sink {
            SinkKind::DeltaAppend | SinkKind::DeltaMerge => Arc::new(DeltaSink::new(at)?.with_mode(mode)),
            SinkKind::Kafka => Arc::new(KafkaSink::new(self.kafka(), at).with_token_topic(TOKENS)),
            SinkKind::PostgresAppend | SinkKind::PostgresMerge => Arc::new(self.place().sink(&at).with_mode(mode)),
            // Small requests, one after the other: there is a middle.
            SinkKind::Elastic => Arc::new(self.index(&at).sink().with_request_size(16 << 10).with_concurrency(1)),
        };
        Ok(match flaw {
            Some(flaw) => flaw.of(sink),
            None => sink,
        })
    }

    fn letters(&self) -> Result<Arc<dyn Sink>> {
        let at = self.at("letters");
        Ok(match self.sink {
            SinkKind::DeltaAppend | SinkKind::DeltaMerge => Arc::new(DeltaSink::new(at)?.keyless()),
            SinkKind::Kafka => Arc::new(KafkaSink::new(self.kafka(), at).with_token_topic(TOKENS)),
            SinkKind::PostgresAppend | SinkKind::PostgresMerge => Arc::new(self.place().sink(&at).for_dead_letters()),
            SinkKind::Elastic => Arc::new(self.index(&at).sink()),
        })
    }

    /// The pipeline, its places opened anew as a restarted process would.
    pub(super) fn pipeline(&self, rig: &Rig) -> Result<Pipeline> {
        let columns =
            bar_schema().fields().iter().map(|it| format!("\"{}\"", it.name())).collect::<Vec<_>>().join(", ");
        let bars = Sql::new(format!("SELECT {columns} FROM input"))?.with_key(BAR_KEY).with_version("as_of");
        Pipeline::builder(&self.name)
            .source_arc(self.source()?)
            .step(Step::new("bars", bars))
            .sink(SinkStep::new("bars", Halfway::new(self.sink(rig.flaw)?, rig.striker.clone())))
            .dead_letters(Halfway::new(self.letters()?, None))
            .max_dead_letters(None)
            .backoff(BACKOFF)
            .store(self.store())
            .build()
    }
}

/// One topic of tokens for all cells.
const TOKENS: &str = "it-crash-matrix-tokens";
