//! Topics as a pipeline wants them: made, and checked against what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use stockflow_core::Result;

use super::access::{self, AccessRule, TopicAccess};
use super::client::{Admin, admin, blocking, insist, known_partitions, partitions, reader};
use super::error::{Failure, origin};
use super::options::KafkaOptions;
use super::source::check_topic;

/// What a broker takes if nobody says otherwise.
const MAX_MESSAGE_BYTES: usize = 1_048_588;

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it has; more are added, fewer are an error. `None`: whatever the brokers do.
    pub partitions: Option<i32>,
    /// On how many brokers each message is kept; `None`: whatever the brokers do.
    pub replication: Option<i32>,
    /// Its own settings, in Kafka's words: `retention.ms`, `cleanup.policy`, …
    pub settings: BTreeMap<String, String>,
    /// Who may read and write it.
    pub access: TopicAccess,
    /// The topic for tokens of a [`KafkaSink`](super::KafkaSink) whose user may not make it.
    pub token_topic: Option<String>,
}

/// Where a topic is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDifference {
    /// The topic.
    pub topic: String,
    /// What differs.
    pub what: String,
    /// What was, or must be, done.
    pub action: String,
}

impl fmt::Display for TopicDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic `{}`: {}: {}", self.topic, self.what, self.action)
    }
}

fn patience(options: &KafkaOptions) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(options.timeout())).operation_timeout(Some(options.timeout()))
}

fn asked<T>(topic: &str, operation: &'static str, answer: Result<T, KafkaError>) -> Result<T> {
    answer.map_err(|error| Failure::of(&error).at(origin(topic), operation))
}

fn client(options: &KafkaOptions, topic: &str) -> Result<Admin> {
    admin(options).map_err(|failure| failure.at(origin(topic), "open"))
}

async fn create(options: &KafkaOptions, spec: &TopicSpec) -> Result<()> {
    let admin = client(options, &spec.name)?;
    let replication = TopicReplication::Fixed(spec.replication.unwrap_or(-1));
    let mut topic = NewTopic::new(&spec.name, spec.partitions.unwrap_or(-1), replication);
    for (key, value) in &spec.settings {
        topic = topic.set(key, value);
    }
    let answer = asked(&spec.name, "create", admin.create_topics([&topic], &patience(options)).await)?;
    match answer.into_iter().next() {
        Some(Err((_, Code::TopicAlreadyExists))) | Some(Ok(_)) | None => {}
        Some(Err((_, code))) => return Err(Failure::told(code, "").at(origin(&spec.name), "create")),
    }
    // It is of use once its partitions have leaders.
    let (options, topic) = (options.clone(), spec.name.clone());
    blocking(&spec.name, "create", move || {
        let reader = reader(&options, None)?;
        insist(&reader, options.timeout(), |time| {
            let metadata = reader.fetch_metadata(Some(&topic), time)?;
            let found = metadata.topics().iter().find(|it| it.name() == topic);
            let is_ready = found.is_some_and(|it| {
                it.error().is_none() && !it.partitions().is_empty() && it.partitions().iter().all(|it| it.leader() >= 0)
            });
            if is_ready { Ok(()) } else { Err(KafkaError::MetadataFetch(Code::LeaderNotAvailable)) }
        })
    })
    .await
}

/// The topic in which sinks keep their tokens.
pub(super) async fn create_token_topic(options: &KafkaOptions, topic: &str) -> Result<()> {
    let settings = [
        ("cleanup.policy", "compact"),
        // Small segments, so that little is read at the start of a run.
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    let spec = TopicSpec {
        name: topic.into(),
        partitions: Some(1),
        replication: None,
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..TopicSpec::default()
    };
    create(options, &spec).await
}

/// The topic's own settings.
async fn settings(options: &KafkaOptions, topic: &str) -> Result<BTreeMap<String, String>> {
    let admin = client(options, topic)?;
    let resource = [ResourceSpecifier::Topic(topic)];
    let answer = asked(topic, "describe", admin.describe_configs(&resource, &patience(options)).await)?;
    match answer.into_iter().next() {
        Some(Ok(found)) => Ok(found.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()),
        Some(Err(code)) => Err(Failure::told(code, "").at(origin(topic), "describe")),
        None => Ok(BTreeMap::new()),
    }
}

/// Whether the brokers keep no access rules; `false` where they do not say so.
pub(super) async fn lacks_authorizer(options: &KafkaOptions, topic: &str) -> Result<bool> {
    let (asked_options, name) = (options.clone(), topic.to_owned());
    let broker = blocking(topic, "describe access to", move || {
        let reader = reader(&asked_options, None)?;
        let metadata = insist(&reader, asked_options.timeout(), |time| reader.fetch_metadata(Some(&name), time))?;
        Ok(metadata.brokers().first().map(|broker| broker.id()))
    });
    let Some(broker) = broker.await? else { return Ok(false) };
    let resource = [ResourceSpecifier::Broker(broker)];
    let answer = client(options, topic)?.describe_configs(&resource, &patience(options)).await;
    let entries = answer.into_iter().flatten().flatten().flat_map(|found| found.entries);
    let mut authorizer = entries.filter(|entry| entry.name == "authorizer.class.name");
    Ok(authorizer.next().is_some_and(|entry| entry.value.is_none_or(|class| class.is_empty()) && !entry.is_sensitive))
}

/// How large a message of a topic may be; where that may not be asked, what brokers take by default.
pub(super) async fn max_message_bytes(options: &KafkaOptions, topic: &str) -> usize {
    match settings(options, topic).await {
        Ok(settings) => {
            let told = settings.get("max.message.bytes").and_then(|it| it.parse().ok());
            // What librdkafka takes.
            told.unwrap_or(MAX_MESSAGE_BYTES).clamp(1000, 1_000_000_000)
        }
        Err(error) => {
            tracing::debug!(error = %error.chain().join(": "), "the size of messages is not known; the brokers' default is taken");
            MAX_MESSAGE_BYTES
        }
    }
}

/// What of a topic is not as it should be.
async fn compare(options: &KafkaOptions, spec: &TopicSpec) -> Result<Option<Vec<(String, Fix)>>> {
    let (asked_options, topic) = (options.clone(), spec.name.clone());
    let there = blocking(&spec.name, "describe", move || {
        let reader = reader(&asked_options, None)?;
        let found = partitions(&reader, &asked_options, &topic, |time| reader.fetch_metadata(Some(&topic), time))?;
        let Some(ids) = found else { return Ok(None) };
        let metadata = insist(&reader, asked_options.timeout(), |time| reader.fetch_metadata(Some(&topic), time))?;
        let replicas = metadata.topics().iter().flat_map(|it| it.partitions()).map(|it| it.replicas().len()).min();
        Ok(Some((ids.len(), replicas.unwrap_or(0))))
    })
    .await?;
    let Some((n_partitions, replicas)) = there else { return Ok(None) };
    let mut differences = Vec::new();
    if let Some(wanted) = spec.partitions.and_then(|it| usize::try_from(it).ok()) {
        if n_partitions < wanted {
            differences.push((format!("{n_partitions} partitions instead of {wanted}"), Fix::Partitions(wanted)));
        } else if n_partitions > wanted {
            let what = format!("{n_partitions} partitions instead of {wanted}");
            differences
                .push((what, Fix::ByHand("partitions cannot be taken away; make the topic anew, or change the file")));
        }
    }
    if let Some(wanted) = spec.replication.and_then(|it| usize::try_from(it).ok())
        && replicas != wanted
    {
        let what = format!("{replicas} replicas instead of {wanted}");
        differences.push((what, Fix::ByHand("change it with `kafka-reassign-partitions`")));
    }
    let found = settings(options, &spec.name).await?;
    for (key, wanted) in &spec.settings {
        match found.get(key) {
            Some(value) if value == wanted => {}
            Some(value) => differences.push((
                format!("`{key}` is `{value}` instead of `{wanted}`"),
                Fix::ByHand("change it with `kafka-configs --alter`"),
            )),
            None => differences.push((format!("`{key}` is not known to the brokers"), Fix::ByHand("check its name"))),
        }
    }
    Ok(Some(differences))
}

/// What makes a difference good.
enum Fix {
    Partitions(usize),
    Allow(AccessRule),
    ByHand(&'static str),
}

/// Where access is not as it should be.
async fn compare_access(options: &KafkaOptions, spec: &TopicSpec) -> Result<Vec<(String, Fix)>> {
    let found = access::compare(options, &spec.name, &spec.access).await?;
    let in_words = |difference| match difference {
        access::Difference::Missing(rule) => (format!("no rule says that {rule}"), Fix::Allow(rule)),
        access::Difference::Denied(rule, host) => (
            match host.as_str() {
                "*" => format!("{rule}, but a rule denies it"),
                host => format!("{rule}, but a rule denies it from `{host}`"),
            },
            Fix::ByHand("take the denial away with `kafka-acls --remove --deny-principal`"),
        ),
        access::Difference::Unnamed { principal, operation } => (
            format!("`{principal}` may {operation} it, and is not named"),
            Fix::ByHand("name it in the file, or take its rule away with `kafka-acls --remove --allow-principal`"),
        ),
    };
    Ok(found.into_iter().map(in_words).collect())
}

/// Whether the topic for tokens is missing, if one is asked for.
async fn lacks_token_topic(options: &KafkaOptions, spec: &TopicSpec) -> Result<Option<String>> {
    let Some(topic) = spec.token_topic.clone() else { return Ok(None) };
    check_topic("token_topic", &topic)?;
    let (asked, name) = (options.clone(), topic.clone());
    let found = blocking(&topic, "describe", move || {
        let reader = reader(&asked, None)?;
        partitions(&reader, &asked, &name, |time| reader.fetch_metadata(Some(&name), time))
    });
    Ok(if found.await?.is_none() { Some(topic) } else { None })
}

/// Compares topics with what they should be; changes nothing.
///
/// # Errors
///
/// Whatever asking the brokers gives.
pub async fn check_topics(options: &KafkaOptions, specs: &[TopicSpec]) -> Result<Vec<TopicDifference>> {
    walk(options, specs, false).await
}

/// Makes topics that are missing, adds partitions and access rules that are missing. Gives what remains to be done by hand.
///
/// # Errors
///
/// Whatever asking the brokers gives.
pub async fn apply_topics(options: &KafkaOptions, specs: &[TopicSpec]) -> Result<Vec<TopicDifference>> {
    walk(options, specs, true).await
}

async fn walk(options: &KafkaOptions, specs: &[TopicSpec], apply: bool) -> Result<Vec<TopicDifference>> {
    options.check()?;
    let mut left = Vec::new();
    for spec in specs {
        check_topic("topic", &spec.name)?;
        let difference =
            |what: String, action: &str| TopicDifference { topic: spec.name.clone(), what, action: action.to_owned() };
        let mut differences = match compare(options, spec).await? {
            Some(differences) => differences,
            None if apply => {
                create(options, spec).await?;
                tracing::info!(topic = spec.name, "created");
                Vec::new()
            }
            None => {
                left.push(difference("it is not there".into(), "`stockflow topics apply` makes it"));
                continue;
            }
        };
        if let Some(tokens) = lacks_token_topic(options, spec).await? {
            if apply {
                create_token_topic(options, &tokens).await?;
                tracing::info!(topic = tokens, "created");
            } else {
                let what = format!("its topic for tokens, `{tokens}`, is not there");
                left.push(difference(what, "`stockflow topics apply` makes it"));
            }
        }
        differences.extend(compare_access(options, spec).await?);
        let mut rules = Vec::new();
        for (what, fix) in differences {
            match fix {
                Fix::Partitions(wanted) if apply => {
                    add_partitions(options, &spec.name, wanted).await?;
                    tracing::info!(topic = spec.name, partitions = wanted, "partitions added");
                }
                Fix::Partitions(_) => left.push(difference(what, "`stockflow topics apply` adds them")),
                Fix::Allow(rule) if apply => rules.push(rule),
                Fix::Allow(_) => left.push(difference(what, "`stockflow topics apply` adds it")),
                Fix::ByHand(action) => left.push(difference(what, action)),
            }
        }
        if !rules.is_empty() {
            let added = rules.len();
            access::allow(options, &spec.name, rules).await?;
            tracing::info!(topic = spec.name, rules = added, "access rules added");
        }
    }
    Ok(left)
}

async fn add_partitions(options: &KafkaOptions, topic: &str, wanted: usize) -> Result<()> {
    let admin = client(options, topic)?;
    let partitions = [NewPartitions::new(topic, wanted)];
    let answer = asked(topic, "add partitions", admin.create_partitions(&partitions, &patience(options)).await)?;
    if let Some(Err((_, code))) = answer.into_iter().next() {
        return Err(Failure::told(code, "").at(origin(topic), "add partitions"));
    }
    let (options, topic_name) = (options.clone(), topic.to_owned());
    blocking(topic, "add partitions", move || {
        let reader = reader(&options, None)?;
        let end = std::time::Instant::now() + options.timeout();
        while known_partitions(&reader, &options, &topic_name)?.len() < wanted && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    })
    .await
}
