//! The sink: its settings, and the steps of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};
use stockflow_core::relation::RelationSchema;
use stockflow_core::retry::Backoff;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, RefusedRow, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio::sync::{Mutex, mpsc};

use super::bulk::Bulk;
use super::client::{Client, Info};
use super::document::{Encoder, refused_row};
use super::fence::Ownership;
use super::index::{IndexSettings, Indices};
use super::name;
use super::options::ElasticOptions;
use super::spool::Spool;

/// Documents of an epoch that stay in memory between `stage` and `commit`.
const MEMORY: usize = 64 << 20;
/// Bytes of one request, where nobody says otherwise: more makes the server no faster.
const REQUEST: usize = 5 << 20;
/// Requests that are on their way at once, where nobody says otherwise.
const CONCURRENCY: usize = 4;
/// For documents that the server has no room for now; afterwards the engine takes over with its own patience.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(10),
    deadline: Some(Duration::from_secs(60)),
};

/// When an epoch's documents are seen by searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refresh {
    /// When the server refreshes by itself: with its default after a second, or with the first search.
    #[default]
    Never,
    /// At the end of a commit, which waits for the server's own refresh: each request takes up to a second.
    WaitFor,
    /// At the end of a commit, which asks for a refresh.
    Now,
}

/// Writes a relation to an index of Elasticsearch or OpenSearch.
///
/// # Input
///
/// Any relation. A document is a row, a field a column; its `_id` is the key joined by `|`, its version the version column.
///
/// # Guarantees
///
/// Effectively once for relations with a key: a repeated epoch writes the same documents, and one with a higher version wins in
/// whatever order they arrive. A relation without a version replaces, one without a key is only added to.
///
/// The fence is checked right before a commit ([`Fence::Checked`]).
///
/// # Errors
///
/// Class config: a login that is refused, an index that is gone, read-only or does not fit. Class transient: a server that is not
/// there or has no room. A document that the mapping refuses is a refused row with the server's reason; so is a row whose key has a
/// NULL or whose version is negative.
///
/// # Example
///
/// ```
/// use stockflow_core::sink::{Fence, Sink};
/// use stockflow_io::elastic::{ElasticOptions, ElasticSink};
///
/// let options = ElasticOptions::parse("http://localhost:9200")?;
/// let bars = ElasticSink::new(options, "bars")?.with_monthly_indices();
/// assert_eq!(bars.fence(), Fence::Checked);
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ElasticSink {
    options: ElasticOptions,
    index: IndexSettings,
    meta_index: String,
    refresh: Refresh,
    request: usize,
    concurrency: usize,
    backoff: Backoff,
    state: Mutex<Option<Arc<Opened>>>,
}

/// A sink that is open.
#[derive(Debug)]
struct Opened {
    owner: Ownership,
    client: Client,
    indices: Arc<Indices>,
}

/// What `stage` leaves for `commit`.
struct Prepared {
    relation: RelationSchema,
    spools: Vec<Spool>,
    /// The names that documents go to.
    targets: BTreeSet<String>,
    opened: Arc<Opened>,
}

impl ElasticSink {
    /// A sink to an index of that name, or to what stands behind the alias; nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a name that the server does not take.
    pub fn new(options: ElasticOptions, index: &str) -> Result<Self> {
        name::check("index", index)?;
        let index = IndexSettings { name: index.to_owned(), by_month: false, create: true, settings: BTreeMap::new() };
        Ok(Self {
            options,
            index,
            meta_index: "stockflow-sinks".into(),
            refresh: Refresh::default(),
            request: REQUEST,
            concurrency: CONCURRENCY,
            backoff: BACKOFF,
            state: Mutex::default(),
        })
    }

    /// Gives each month of the key's time an index of its own, all of them behind the name as an alias.
    #[must_use]
    pub fn with_monthly_indices(mut self) -> Self {
        self.index.by_month = true;
        self
    }

    /// Whether templates, indices and fields that are missing are made; by default they are.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.index.create = create;
        self
    }

    /// Settings of new indices, such as `number_of_replicas`.
    #[must_use]
    pub fn with_index_settings<S: Into<String>>(mut self, settings: impl IntoIterator<Item = (S, S)>) -> Self {
        self.index.settings = settings.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }

    /// When an epoch's documents are seen by searches; by default when the server refreshes.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Bytes of one request; by default 5 MiB. A larger document goes alone.
    #[must_use]
    pub fn with_request_size(mut self, bytes: usize) -> Self {
        self.request = bytes.max(1);
        self
    }

    /// Requests that are on their way at once; by default 4.
    #[must_use]
    pub fn with_concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// How documents that the server has no room for are tried again within one commit; by default for a minute.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The index for the sinks' fences; by default `stockflow-sinks`. It is made if it is not there, and may serve any number of sinks.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a name that the server does not take.
    pub fn with_meta_index(mut self, name: &str) -> Result<Self> {
        name::check("meta_index", name)?;
        self.meta_index = name.to_owned();
        Ok(self)
    }

    fn origin(&self) -> Origin {
        self.options.origin(&self.index.name)
    }

    async fn opened(&self) -> Result<Arc<Opened>> {
        let opened = self.state.lock().await.clone();
        opened.ok_or_else(|| Error::internal("an Elasticsearch sink was used before it was opened"))
    }

    /// Which server answers; shards of the index that are not there are waited for by whoever tries again.
    async fn looked_at(&self, client: &Client) -> Result<Info> {
        let origin = self.origin();
        let info = client.info().await.map_err(|failure| failure.at("open", &origin))?;
        let indices = format!("{0}-0*,{0}_y*", self.index.name);
        let health =
            client.health(&indices).await.map_err(|failure| failure.at("ask for the index's health", &origin))?;
        match health.as_deref() {
            Some("red") => {
                let reason = "its health is red: shards are not there; `GET _cluster/allocation/explain` says why";
                Err(Error::refused(origin, ErrorClass::Transient, reason))
            }
            _ => Ok(info),
        }
    }

    /// Writes all requests, several at once; gives the rows that were refused.
    async fn write(&self, opened: &Opened, relation: RelationSchema, spools: Vec<Spool>) -> Result<Vec<RefusedRow>> {
        let bulk = Bulk {
            client: opened.client.clone(),
            origin: self.origin(),
            backoff: self.backoff,
            wait_for: self.refresh == Refresh::WaitFor,
        };
        let (sender, receiver) = mpsc::channel(1);
        // What is on disk is read beside the runtime, one request ahead.
        let reader = SpawnedTask::spawn_blocking(move || {
            spools.iter().try_for_each(|spool| spool.for_each(|request| sender.blocking_send(request).is_ok()))
        });
        let requests = stream::unfold(receiver, |mut receiver| async move {
            let request = receiver.recv().await?;
            Some((request, receiver))
        });
        let refused: Vec<_> =
            requests.map(|request| bulk.write(request)).buffer_unordered(self.concurrency).try_concat().await?;
        let read = reader.join().await;
        read.map_err(|error| Error::internal(format!("the reader of spooled documents stopped: {error}")))??;
        Ok(refused.into_iter().map(|it| refused_row(&relation, &it.document, it.reason)).collect())
    }
}

#[async_trait]
impl Sink for ElasticSink {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        let client = self.options.connect().await?;
        let info = self.looked_at(&client).await?;
        tracing::debug!(%info, index = self.index.name, "the server answers");
        let mut state = self.state.lock().await;
        let before = state.as_ref().map(|it| &it.owner).filter(|it| it.sink == *sink && it.generation == generation);
        let again = before.is_some();
        let owner = Ownership {
            sink: sink.clone(),
            generation,
            owner: before.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), |before| before.owner.clone()),
            index: self.index.name.clone(),
            meta_index: self.meta_index.clone(),
        };
        owner.take(&client, again, self.index.create, &self.origin()).await?;
        let indices = Arc::new(Indices::new(client.clone(), self.index.clone(), self.origin()));
        *state = Some(Arc::new(Opened { owner, client, indices }));
        // Documents hold no token: what a repeated epoch writes is there already.
        Ok(None)
    }

    /// The rows are made documents and kept: nothing that the server has can be taken back.
    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let opened = self.opened().await?;
        let encoder = Arc::new(Encoder::new(rows.relation(), self.index.by_month, Arc::clone(&opened.indices))?);
        // An index that does not fit is told before anything is computed.
        encoder.only_target().await?;
        let runtime = rows.frame().task_ctx().runtime_env();
        let streams = rows.partitions().await?;
        let (memory, request) = (MEMORY / streams.len().max(1), self.request);
        let work = streams.into_iter().map(|mut stream| {
            let (encoder, mut spool) = (Arc::clone(&encoder), Spool::new(Arc::clone(&runtime), request, memory));
            SpawnedTask::spawn(async move {
                let (mut refused, mut targets) = (Vec::new(), BTreeSet::new());
                while let Some(batch) = stream.try_next().await? {
                    refused.extend(encoder.encode(&batch, &mut spool, &mut targets).await?);
                }
                spool.cut()?;
                Ok::<_, Error>((spool, refused, targets))
            })
        });
        let (mut spools, mut refused, mut targets) = (Vec::new(), Vec::new(), BTreeSet::new());
        for task in work.collect::<Vec<_>>() {
            let done = task.join().await;
            let done = done.map_err(|error| Error::internal(format!("an encoder of documents stopped: {error}")))?;
            let (spool, bad, names) = done?;
            spools.push(spool);
            refused.extend(bad);
            targets.extend(names);
        }
        let n_rows = spools.iter().map(|spool| spool.rows).sum();
        let prepared = Prepared { relation: encoder.relation().clone(), spools, targets, opened };
        Ok(Staged { refused, ..Staged::new(*epoch, n_rows, prepared) })
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let rows = staged.rows;
        let Prepared { relation, spools, targets, opened } = staged.into_payload()?;
        opened.owner.check(&opened.client, &self.origin()).await?;
        let bytes = spools.iter().map(|spool| spool.bytes).sum();
        let refused = match self.write(&opened, relation, spools).await {
            Ok(refused) => refused,
            Err(error) => {
                // Something may have changed: the next attempt looks at everything anew.
                opened.indices.forget().await;
                return Err(error);
            }
        };
        opened.indices.check(&targets).await?;
        if self.refresh == Refresh::Now {
            opened.indices.refresh(&targets).await?;
        }
        let written = rows.saturating_sub(refused.len() as u64);
        Ok(Written {
            rows: written,
            bytes: Some(bytes),
            location: format!("{}/{}", self.options, self.index.name),
            refused,
        })
    }

    async fn abort(&self, _staged: Staged) -> Result<()> {
        Ok(())
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::Keyed
    }

    fn write_mode(&self) -> WriteMode {
        WriteMode::Merge
    }

    fn fence(&self) -> Fence {
        Fence::Checked
    }

    fn definition(&self) -> serde_json::Value {
        let mut definition = serde_json::json!({
            "type": "elasticsearch", "url": self.options.to_string(), "index": self.index.name,
        });
        if self.index.by_month {
            definition["partition"] = "month".into();
        }
        definition
    }
}
