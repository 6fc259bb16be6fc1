//! `type = "kafka"`: what its tables say, and what is made of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{ACTION_KEY, action_schema, bar_relation};
use stockflow_core::token::SinkId;
use stockflow_io::kafka::{
    AccessRule, KafkaCompression, KafkaFormat, KafkaOptions, KafkaSink, KafkaSource, KafkaStart, Operation, Resource,
    SaslMechanism, SchemaRegistry, TopicAccess, TopicDifference, TopicSpec, apply_topics, check_topics,
};

use crate::config::{SecretRef, Section};
use crate::exit::Outcome;

/// The brokers and one topic there.
#[derive(Debug)]
struct Place {
    options: KafkaOptions,
    password: Option<SecretRef>,
    key_password: Option<SecretRef>,
    topic: String,
    /// `kafka://brokers/topic`
    text: String,
    partitions: Option<i32>,
    replication: Option<i32>,
    settings: BTreeMap<String, String>,
    readers: Option<Vec<String>>,
    writers: Option<Vec<String>>,
}

/// A topic as it should be.
#[derive(Debug)]
pub(crate) struct Topic<'c> {
    options: &'c KafkaOptions,
    spec: TopicSpec,
}

impl Place {
    fn read(section: &Section<'_>) -> Self {
        let brokers = section.required("brokers");
        let mut options = KafkaOptions::new(&brokers);
        if section.flag("tls").unwrap_or(false) {
            options = options.with_tls();
        }
        if let Some(ca) = section.text("ca") {
            options = options.with_ca(ca);
        }
        match (section.text("client_cert"), section.text("client_key")) {
            (Some(certificate), Some(key)) => options = options.with_client_certificate(certificate, key),
            (None, None) => {}
            _ => section.problem("client_key", "and `client_cert` belong together"),
        }
        let key_password = section.secret("client_key_password");
        if let Some(place) = &key_password {
            options = options.with_key_password_from(place.clone());
        }
        let sasl = section.choice("sasl", &SaslMechanism::ALL);
        let (user, password) = (section.text("user"), section.secret("password"));
        match (user, &password) {
            (Some(user), Some(place)) => {
                let mechanism = sasl.unwrap_or(SaslMechanism::ScramSha512);
                options = options.with_login_from(mechanism, user, place.clone());
            }
            (None, None) if sasl.is_none() => {}
            (None, _) => section.problem("user", "is missing beside `password` and `sasl`"),
            (Some(_), None) => {
                if !section.has("password") {
                    section.problem(
                        "password",
                        "is missing beside `user`; say where it is kept, as in `env:KAFKA_PASSWORD`",
                    );
                }
            }
        }
        if let Some(seconds) = section.count_within("timeout_s", 1..=3600) {
            options = options.with_timeout(Duration::from_secs(seconds));
        }
        let topic = section.required("topic");
        let count = |key| section.count_within(key, 1..=10_000).and_then(|it| i32::try_from(it).ok());
        Self {
            text: format!("kafka://{brokers}/{topic}"),
            partitions: count("partitions"),
            replication: count("replication"),
            settings: section.pairs("topic_settings").unwrap_or_default().into_iter().collect(),
            readers: principals(section, "topic_readers"),
            writers: principals(section, "topic_writers"),
            options,
            password,
            key_password,
            topic,
        }
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        let password = self.password.iter().map(|place| ("password", place));
        password.chain(self.key_password.iter().map(|place| ("client_key_password", place))).collect()
    }

    fn topic(&self) -> Topic<'_> {
        let access = TopicAccess { readers: self.readers.clone(), writers: self.writers.clone(), besides: Vec::new() };
        let spec = TopicSpec {
            name: self.topic.clone(),
            partitions: self.partitions,
            replication: self.replication,
            settings: self.settings.clone(),
            access,
            token_topic: None,
        };
        Topic { options: &self.options, spec }
    }
}

/// Names of users, in Kafka's words.
fn principals(section: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
    let names = section.texts(key)?;
    if let Some(name) =
        names.iter().find(|name| !name.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty()))
    {
        section.problem(key, format!("names `{name}`; write it as Kafka does, `User:NAME`"));
    }
    Some(names)
}

/// The rules for each of some users.
fn rules(principals: &[String], wanted: &[(Resource, Operation)]) -> Vec<AccessRule> {
    let of = |principal: &String| {
        let rule = |(resource, operation): &(Resource, Operation)| AccessRule {
            resource: resource.clone(),
            principal: principal.clone(),
            operation: *operation,
        };
        wanted.iter().map(rule).collect::<Vec<_>>()
    };
    principals.iter().flat_map(of).collect()
}

/// The columns of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Bars,
    Actions,
}

/// `type = "kafka"`, as a source
#[derive(Debug)]
pub(crate) struct KafkaSourceConfig {
    place: Place,
    relation: String,
    schema: Option<Known>,
    columns: Vec<(String, DataType)>,
    key: Vec<String>,
    version: Option<String>,
    format: KafkaFormat,
    delimiter: Option<u8>,
    ignores_unknown: bool,
    position: bool,
    kind: Option<String>,
    group: Option<String>,
    start: KafkaStart,
    allow_loss: bool,
    max_bytes: Option<u64>,
    registry: Option<SchemaRegistry>,
    registry_password: Option<SecretRef>,
}

impl KafkaSourceConfig {
    /// Reads the rest of a `[source]` table, whose declared columns are given.
    pub(crate) fn read(section: &Section<'_>, columns: Vec<(String, DataType)>, delimiter: Option<u8>) -> Self {
        let schema = section.choice("schema", &[("bars", Known::Bars), ("actions", Known::Actions)]);
        match (schema, section.has("types")) {
            (None, false) => section.problem(
                "schema",
                "is missing: a topic has no columns of its own; write `schema = \"bars\"` or `\"actions\"`, or declare them under `types`",
            ),
            (Some(_), true) => section.problem("types", "stands beside `schema`; write one of them"),
            _ => {}
        }
        let key = section.texts("key").unwrap_or_default();
        let version = section.text("version");
        if schema.is_some() && (!key.is_empty() || version.is_some()) {
            section.problem("key", "and `version` are known by `schema`; leave them out");
        }
        for column in key.iter().chain(&version) {
            if !columns.is_empty() && !columns.iter().any(|(name, _)| name == column) {
                section.problem("key", format!("or `version` names `{column}`, which is none of the declared columns"));
            }
        }
        let mut formats = KafkaFormat::ALL.to_vec();
        formats.push(("avro", KafkaFormat::Avro));
        let format = section.choice("format", &formats).unwrap_or_default();
        let registry_password = section.secret("registry_password");
        let registry = registry(section, registry_password.as_ref());
        if format == KafkaFormat::Avro && !section.has("registry") {
            section.problem("registry", "is missing: the URL of the schema registry, as in `http://127.0.0.1:8081`");
        }
        Self {
            registry,
            registry_password,
            place: Place::read(section),
            relation: section.text("relation").unwrap_or_else(|| "input".into()),
            schema,
            columns,
            key,
            version,
            format,
            delimiter,
            ignores_unknown: section.choice("unknown_fields", &[("refuse", false), ("ignore", true)]).unwrap_or(false),
            position: section.flag("position").unwrap_or(false),
            kind: section.text("kind"),
            group: section.text("group"),
            start: section.choice("start", &KafkaStart::ALL).unwrap_or_default(),
            allow_loss: section.flag("allow_loss").unwrap_or(false),
            max_bytes: section.count_within("max_bytes", 1..=u64::MAX),
        }
    }

    pub(crate) fn relation(&self) -> &str {
        &self.relation
    }

    pub(crate) fn path(&self) -> &str {
        &self.place.text
    }

    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        let mut secrets = self.place.secrets();
        secrets.extend(self.registry_password.iter().map(|place| ("registry_password", place)));
        secrets
    }

    /// Who reads the topic runs this pipeline: it needs the group, too.
    pub(crate) fn topic(&self) -> Topic<'_> {
        let mut topic = self.place.topic();
        if let (Some(readers), Some(group)) = (&self.place.readers, &self.group) {
            topic.spec.access.besides = rules(readers, &[(Resource::Group(group.clone()), Operation::Read)]);
        }
        topic
    }

    fn declared(&self) -> RelationSchema {
        match self.schema {
            Some(Known::Bars) => bar_relation(&self.relation),
            Some(Known::Actions) => {
                RelationSchema::new(&self.relation, action_schema()).with_key(ACTION_KEY).with_version("as_of")
            }
            None => {
                let field = |(name, data_type): &(String, DataType)| {
                    Field::new(name, data_type.clone(), !self.key.contains(name))
                };
                let schema = Schema::new(self.columns.iter().map(field).collect::<Vec<_>>());
                let relation = RelationSchema::new(&self.relation, Arc::new(schema)).with_key(self.key.clone());
                match &self.version {
                    Some(version) => relation.with_version(version),
                    None => relation,
                }
            }
        }
    }

    pub(crate) fn build(&self) -> KafkaSource {
        let mut source = KafkaSource::new(self.place.options.clone(), &self.place.topic, self.declared())
            .with_format(self.format)
            .with_start(self.start);
        if let Some(registry) = self.registry.as_ref().filter(|_| self.format == KafkaFormat::Avro) {
            source = source.with_avro(registry.clone());
        }
        if let Some(delimiter) = self.delimiter {
            source = source.with_delimiter(delimiter);
        }
        if self.ignores_unknown {
            source = source.with_unknown_fields_ignored();
        }
        if self.position {
            source = source.with_position();
        }
        if let Some(kind) = &self.kind {
            source = source.with_kind(kind);
        }
        if let Some(group) = &self.group {
            source = source.with_group(group);
        }
        if let Some(bytes) = self.max_bytes {
            source = source.with_bytes_per_epoch(bytes);
        }
        if self.allow_loss { source.with_loss_allowed() } else { source }
    }
}

fn registry(section: &Section<'_>, password: Option<&SecretRef>) -> Option<SchemaRegistry> {
    let url = section.text("registry");
    let user = section.text("registry_user");
    if user.is_some() != password.is_some() {
        section.problem("registry_user", "and `registry_password` belong together");
    }
    match SchemaRegistry::new(&url?) {
        Ok(registry) => Some(match (user, password) {
            (Some(user), Some(place)) => registry.with_login_from(user, place.clone()),
            _ => registry,
        }),
        Err(error) => {
            section.problem("registry", format!("is wrong: {}", error.chain().join(": ")));
            None
        }
    }
}

/// `type = "kafka"`, as a sink
#[derive(Debug)]
pub(crate) struct KafkaSinkConfig {
    place: Place,
    format: KafkaFormat,
    compression: KafkaCompression,
    token_topic: Option<String>,
}

impl KafkaSinkConfig {
    pub(crate) fn read(section: &Section<'_>) -> Self {
        Self {
            place: Place::read(section),
            format: section.choice("format", &KafkaFormat::ALL).unwrap_or_default(),
            compression: section.choice("compression", &KafkaCompression::ALL).unwrap_or_default(),
            token_topic: section.text("token_topic"),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.place.text
    }

    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        self.place.secrets()
    }

    /// Who writes the topic runs this pipeline: it needs the sink's tokens and transactions, too, and the source's group, whose
    /// offsets are a part of them.
    pub(crate) fn topic(&self, sink: &SinkId, source: Option<&KafkaSourceConfig>) -> Topic<'_> {
        let mut topic = self.place.topic();
        if let Some(writers) = &self.place.writers {
            let tokens = self.build().token_topic().to_owned();
            let mut needed = vec![
                (Resource::Topic(tokens.clone()), Operation::Read),
                (Resource::Topic(tokens.clone()), Operation::Write),
                (Resource::TransactionalId(sink.to_string()), Operation::Write),
            ];
            let here = source.filter(|source| source.place.options.brokers() == self.place.options.brokers());
            if let Some((group, source)) = here.and_then(|source| Some((source.group.clone()?, source))) {
                needed.push((Resource::Group(group), Operation::Read));
                needed.push((Resource::Topic(source.place.topic.clone()), Operation::Read));
            }
            topic.spec.access.besides = rules(writers, &needed);
            topic.spec.token_topic = Some(tokens);
        }
        topic
    }

    pub(crate) fn build(&self) -> KafkaSink {
        let mut sink = KafkaSink::new(self.place.options.clone(), &self.place.topic)
            .with_format(self.format)
            .with_compression(self.compression);
        if let Some(topic) = &self.token_topic {
            sink = sink.with_token_topic(topic);
        }
        sink
    }

    /// Whether the brokers answer and the topic is there.
    pub(crate) async fn probe(&self) -> Outcome<String> {
        let spec = TopicSpec { name: self.place.topic.clone(), ..TopicSpec::default() };
        let differences = check_topics(&self.place.options, &[spec]).await?;
        match differences.into_iter().next() {
            Some(difference) => Err(crate::exit::Failure::usage(difference.to_string())),
            None => Ok("the brokers answer, and the topic is there".into()),
        }
    }
}

/// Compares topics with what the file says, or makes them so as far as possible. Gives what is left to do.
pub(crate) async fn walk(topics: &[Topic<'_>], apply: bool) -> Outcome<Vec<TopicDifference>> {
    let mut left = Vec::new();
    for topic in topics {
        let specs = std::slice::from_ref(&topic.spec);
        left.extend(match apply {
            true => apply_topics(topic.options, specs).await?,
            false => check_topics(topic.options, specs).await?,
        });
    }
    Ok(left)
}

impl Topic<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }
}
