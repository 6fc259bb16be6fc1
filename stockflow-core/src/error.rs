//! What can go wrong, where, and what to do about it.

use std::fmt;

use datafusion::error::DataFusionError;

/// The result of every fallible function of stockflow.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause from another library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The input is wrong: only the offending rows are isolated, the rest goes on.
    Data,
    /// The same call may succeed later without anyone changing anything.
    Transient,
    /// A setting, a permission or a full disk: someone has to change something.
    Config,
    /// A broken promise inside stockflow or one of its libraries.
    Internal,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Transient => "transient",
            Self::Config => "config",
            Self::Internal => "internal",
        })
    }
}

/// Where something happened: connector, partition, position and symbol, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The connector's name, such as `file` or `delta`.
    pub connector: String,
    /// The partition: a file, a topic's partition, a table.
    pub partition: Option<String>,
    /// The position within the partition: a line, an offset, a version.
    pub position: Option<String>,
    /// The symbol, if the error belongs to one.
    pub symbol: Option<String>,
}

impl Origin {
    /// A place that is known by its connector only.
    pub fn new(connector: impl Into<String>) -> Self {
        Self { connector: connector.into(), ..Self::default() }
    }

    /// Adds the partition.
    #[must_use]
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// Adds the position.
    #[must_use]
    pub fn position(mut self, position: impl fmt::Display) -> Self {
        self.position = Some(position.to_string());
        self
    }

    /// Adds the symbol.
    #[must_use]
    pub fn symbol(mut self, symbol: impl Into<String>) -> Self {
        self.symbol = Some(symbol.into());
        self
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.connector)?;
        if let Some(partition) = &self.partition {
            write!(f, " {partition}")?;
        }
        if let Some(position) = &self.position {
            write!(f, "@{position}")?;
        }
        if let Some(symbol) = &self.symbol {
            write!(f, " {symbol}")?;
        }
        Ok(())
    }
}

/// Every error of stockflow. `Display` speaks of its own layer only; the causes are behind `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The parts do not fit; nothing was read.
    #[error("invalid pipeline `{pipeline}`: {reason}")]
    InvalidPipeline {
        /// The pipeline's name.
        pipeline: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A setting, an indicator's parameter or a policy was given a value outside its range.
    #[error("invalid {parameter} for {item}: {reason}")]
    InvalidParameter {
        /// What the parameter belongs to.
        item: String,
        /// The parameter's name.
        parameter: String,
        /// The value and the range.
        reason: String,
    },
    /// Columns are missing or of another type than the step needs.
    #[error("schema mismatch at {step}: {reason}")]
    Schema {
        /// The step, relation or connector.
        step: String,
        /// What is missing or different.
        reason: String,
    },
    /// A query failed to plan or to run.
    #[error("query of `{step}` failed")]
    Query {
        /// The step whose query it is.
        step: String,
        /// DataFusion's reason.
        source: Box<DataFusionError>,
    },
    /// Something beyond a connector failed.
    #[error("{origin}: {operation} failed")]
    Connector {
        /// Where.
        origin: Box<Origin>,
        /// What was being done, as a noun or an infinitive: `open`, `write`, `list`.
        operation: &'static str,
        /// What can be done about it.
        class: ErrorClass,
        /// The client library's reason.
        source: BoxError,
    },
    /// A connector refuses, and there is no deeper cause.
    #[error("{origin}: {reason}")]
    Refused {
        /// Where.
        origin: Box<Origin>,
        /// What can be done about it.
        class: ErrorClass,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What an open intent pinned is no longer there, so the epoch cannot be read again as it was.
    #[error("{origin}: {reason}")]
    PinLost {
        /// Where.
        origin: Box<Origin>,
        /// What changed.
        reason: String,
    },
    /// A newer runner has taken over the pipeline.
    #[error(
        "fenced: generation {own} of pipeline `{pipeline}` was replaced by generation {newer}; another runner owns it now, do not restart this one"
    )]
    Fenced {
        /// The pipeline's name.
        pipeline: String,
        /// This runner's generation.
        own: u64,
        /// The newer one.
        newer: u64,
    },
    /// The pipeline, its store and its sinks do not belong together any more.
    #[error("pipeline `{pipeline}` does not match what it left behind: {difference}; run it with `--rebuild` to go on")]
    Mismatch {
        /// The pipeline's name.
        pipeline: String,
        /// What differs.
        difference: String,
    },
    /// More rows were refused than the pipeline allows, or nothing else was left of an epoch.
    #[error("{refused} rows refused ({reason}); the first: {first}")]
    DeadLetters {
        /// How many.
        refused: u64,
        /// The limit that was broken.
        reason: String,
        /// Place and reason of the first one.
        first: String,
    },
    /// The checkpoint store could not be read or written.
    #[error("checkpoint store: {operation} of `{path}` failed")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// The object.
        path: String,
        /// The object store's reason.
        source: Box<object_store::Error>,
    },
    /// An object of the checkpoint store has no meaning.
    #[error(
        "checkpoint store: `{path}` is unreadable: {reason}; restore the store from a copy, or run with `--rebuild` on a new one"
    )]
    StoreCorrupt {
        /// The object.
        path: String,
        /// Why.
        reason: String,
    },
    /// The run was asked to stop; the epoch was abandoned whole.
    #[error("interrupted; epoch {epoch} was abandoned whole and will be run again")]
    Interrupted {
        /// The epoch.
        epoch: u64,
    },
    /// A test's kill point struck.
    #[error("killed at {point}")]
    Killed {
        /// The point.
        point: String,
    },
    /// An error with the place in the protocol where it was met.
    #[error("pipeline `{pipeline}`, epoch {epoch}, {step}")]
    At {
        /// The pipeline's name.
        pipeline: String,
        /// The epoch.
        epoch: u64,
        /// The step of the epoch protocol, with the name of the source, transform or sink.
        step: String,
        /// What happened there.
        source: Box<Error>,
    },
    /// A broken promise inside stockflow.
    #[error("internal error: {reason}; please report it")]
    Internal {
        /// Which promise.
        reason: String,
    },
}

impl Error {
    /// An [`Error::InvalidParameter`].
    pub fn parameter(item: impl Into<String>, parameter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidParameter { item: item.into(), parameter: parameter.into(), reason: reason.into() }
    }

    /// An [`Error::Schema`].
    pub fn schema(step: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Schema { step: step.into(), reason: reason.into() }
    }

    /// An [`Error::Internal`].
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::Internal { reason: reason.into() }
    }

    /// An [`Error::Refused`].
    pub fn refused(origin: Origin, class: ErrorClass, reason: impl Into<String>) -> Self {
        Self::Refused { origin: Box::new(origin), class, reason: reason.into() }
    }

    /// An [`Error::Connector`] whose class is read off its cause.
    pub fn connector(origin: Origin, operation: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let class = class_of(source.as_ref());
        Self::Connector { origin: Box::new(origin), operation, class, source }
    }

    /// The same error, found at `step` of `epoch`. Wraps once only.
    #[must_use]
    pub fn at(self, pipeline: &str, epoch: u64, step: impl Into<String>) -> Self {
        match self {
            Self::At { .. }
            | Self::Fenced { .. }
            | Self::Interrupted { .. }
            | Self::Killed { .. }
            | Self::Mismatch { .. } => self,
            other => Self::At { pipeline: pipeline.into(), epoch, step: step.into(), source: Box::new(other) },
        }
    }

    /// What a caller can do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::InvalidPipeline { .. }
            | Self::InvalidParameter { .. }
            | Self::Schema { .. }
            | Self::Fenced { .. }
            | Self::Mismatch { .. }
            | Self::StoreCorrupt { .. }
            | Self::Interrupted { .. } => ErrorClass::Config,
            Self::DeadLetters { .. } => ErrorClass::Data,
            Self::PinLost { .. } => ErrorClass::Data,
            Self::Connector { class, .. } | Self::Refused { class, .. } => *class,
            Self::Query { source, .. } => class_of(source.as_ref()),
            Self::Store { source, .. } => class_of(source.as_ref()),
            Self::At { source, .. } => source.class(),
            Self::Killed { .. } | Self::Internal { .. } => ErrorClass::Internal,
        }
    }

    /// Whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        self.class() == ErrorClass::Transient
    }

    /// Whether a newer runner owns the pipeline now.
    pub fn is_fenced(&self) -> bool {
        self.find(&|error| matches!(error, Self::Fenced { .. })).is_some()
    }

    /// Whether an open intent cannot be read again as it was pinned.
    pub fn is_pin_lost(&self) -> bool {
        self.find(&|error| matches!(error, Self::PinLost { .. })).is_some()
    }

    /// Whether the run was asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.find(&|error| matches!(error, Self::Interrupted { .. })).is_some()
    }

    /// Whether an object that belongs there is gone from an object store.
    pub(crate) fn is_object_missing(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if matches!(error.downcast_ref(), Some(object_store::Error::NotFound { .. })) {
                return true;
            }
            next = error.source();
        }
        // The Parquet reader passes its cause on as text.
        self.chain().iter().any(|text| text.contains("Object at location") && text.contains("not found"))
    }

    /// The connector, partition, position and symbol, if the error belongs to one.
    pub fn origin(&self) -> Option<&Origin> {
        self.find(&|error| matches!(error, Self::Connector { .. } | Self::Refused { .. } | Self::PinLost { .. }))
            .and_then(|error| match error {
                Self::Connector { origin, .. } | Self::Refused { origin, .. } | Self::PinLost { origin, .. } => {
                    Some(origin.as_ref())
                }
                _ => None,
            })
    }

    /// The first stockflow error in the chain of causes, this one included, that fits.
    fn find(&self, fits: &dyn Fn(&Error) -> bool) -> Option<&Error> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(own) =
                error.downcast_ref::<Error>().or_else(|| error.downcast_ref::<Box<Error>>().map(Box::as_ref))
                && fits(own)
            {
                return Some(own);
            }
            next = error.source();
        }
        None
    }

    /// Every layer's text from the outermost to the cause; a layer that only repeats the one above it is left out.
    pub fn chain(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            let text = error.to_string();
            match texts.last_mut() {
                // Foreign libraries print their cause and return it as well: keep the inner text only once.
                Some(last) if last.contains(&text) => {}
                _ => texts.push(text),
            }
            next = error.source();
        }
        texts
    }
}

impl From<DataFusionError> for Error {
    fn from(source: DataFusionError) -> Self {
        // An error of ours that travelled through a plan comes out as itself.
        match unwrap_external(source) {
            Ok(own) => own,
            Err(source) => Self::Query { step: "plan".into(), source: Box::new(source) },
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(source: arrow::error::ArrowError) -> Self {
        Self::from(DataFusionError::from(source))
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

fn unwrap_external(error: DataFusionError) -> std::result::Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => Ok(*own),
            Err(inner) => Err(DataFusionError::External(inner)),
        },
        DataFusionError::Context(context, inner) => {
            unwrap_external(*inner).map_err(|inner| DataFusionError::Context(context, Box::new(inner)))
        }
        other => Err(other),
    }
}

/// The class of a foreign error, found by what is known in its chain of causes.
pub fn class_of(error: &(dyn std::error::Error + 'static)) -> ErrorClass {
    let mut next = Some(error);
    let mut class = ErrorClass::Internal;
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.class();
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io_class(io);
        }
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            class = store_class(store);
        }
        if let Some(query) = error.downcast_ref::<DataFusionError>() {
            class = query_class(query, class);
        }
        next = error.source();
    }
    class
}

fn query_class(error: &DataFusionError, otherwise: ErrorClass) -> ErrorClass {
    match error {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Configuration(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::ResourcesExhausted(_) => ErrorClass::Config,
        DataFusionError::ArrowError(..) | DataFusionError::ParquetError(_) | DataFusionError::Execution(_) => {
            ErrorClass::Data
        }
        _ => otherwise,
    }
}

fn store_class(error: &object_store::Error) -> ErrorClass {
    use object_store::Error as E;
    match error {
        E::NotFound { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::UnknownConfigurationKey { .. } => ErrorClass::Config,
        E::Precondition { .. } | E::AlreadyExists { .. } | E::NotModified { .. } => ErrorClass::Data,
        // What is left are HTTP failures and time-outs; a local file system tells more by its io error, found deeper.
        _ => ErrorClass::Transient,
    }
}

fn io_class(error: &std::io::Error) -> ErrorClass {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::TimedOut
        | K::Interrupted
        | K::ConnectionRefused
        | K::ConnectionReset
        | K::ConnectionAborted
        | K::BrokenPipe
        | K::HostUnreachable
        | K::NetworkUnreachable
        | K::NotConnected
        | K::WouldBlock => ErrorClass::Transient,
        K::InvalidData | K::UnexpectedEof => ErrorClass::Data,
        // Full disks, missing folders, permissions: waiting does not mend them.
        _ => ErrorClass::Config,
    }
}
