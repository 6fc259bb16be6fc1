//! TLS, logins and rights.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::Sink;
use stockflow_core::source::{EpochLimit, Source};
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_core::token::{Generation, SinkId};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::kafka::{
    AccessRule, KafkaOptions, KafkaSink, KafkaSource, Operation, Resource, SaslMechanism, TopicAccess, TopicDifference,
    TopicSpec, apply_topics, check_topics,
};
use stockflow_io::secret::Secret;

use super::broker::{broker, variable};
use crate::bad_input;
use crate::expired::Expired;
use crate::support::{left_out, read_from, token};

/// The listener with TLS: where it is, its CA, another CA, the password of all users.
struct Secured {
    brokers: String,
    ca: String,
    other_ca: String,
    password: String,
}

fn secured(test: &str) -> Option<Secured> {
    let all = [
        "STOCKFLOW_TEST_KAFKA_TLS",
        "STOCKFLOW_TEST_KAFKA_CA",
        "STOCKFLOW_TEST_KAFKA_OTHER_CA",
        "STOCKFLOW_TEST_KAFKA_PASSWORD",
    ];
    let [Some(brokers), Some(ca), Some(other_ca), Some(password)] = all.map(variable) else {
        left_out(&format!("{test}: {} are not set", all.join(", ")));
        return None;
    };
    Some(Secured { brokers, ca, other_ca, password })
}

impl Secured {
    fn options(&self, user: &str) -> KafkaOptions {
        KafkaOptions::new(&self.brokers).with_ca(&self.ca).with_timeout(Duration::from_secs(20)).with_login(
            SaslMechanism::ScramSha512,
            user,
            Secret::new(&self.password),
        )
    }
}

fn relation() -> RelationSchema {
    let schema = Schema::new(vec![Field::new("symbol", DataType::Utf8, false)]);
    RelationSchema::new("input", Arc::new(schema))
}

fn source(options: KafkaOptions, topic: &str) -> KafkaSource {
    KafkaSource::new(options, topic, relation()).with_unknown_fields_ignored()
}

/// The error of a plan, which must come as a matter of configuration and soon.
async fn refused(case: &str, options: KafkaOptions, topic: &str) -> String {
    let start = std::time::Instant::now();
    let error = source(options, topic).plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err();
    let text = error.chain().join(": ");
    assert_eq!(error.class(), ErrorClass::Config, "{text}");
    assert!(start.elapsed() < Duration::from_secs(10), "after {:?}: {text}", start.elapsed());
    assert!(!text.contains("secret"), "{text}");
    bad_input::told("kafka", case, &error);
    text
}

#[tokio::test]
async fn a_user_with_rights_reads_and_writes() {
    let (Some(broker), Some(secured)) = (broker("kafka scram"), secured("kafka scram")) else { return };
    let topic = broker.topic(2, &[]).await;
    let sink = KafkaSink::new(secured.options("stockflow"), &topic);
    let id = SinkId::new(format!("it-{}", uuid::Uuid::new_v4().simple()), "bars");
    sink.open(&id, Generation(1)).await.unwrap();
    let rows = rows_of(bars_relation(), vec![bars("A", &[(0, 1.0), (1, 2.0)], 1).unwrap()]).unwrap();
    let staged = sink.stage(&token(1), &rows).await.unwrap();
    sink.commit(staged).await.unwrap();
    for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let options = KafkaOptions::new(&secured.brokers).with_ca(&secured.ca).with_login(
            mechanism,
            "reader",
            Secret::new(&secured.password),
        );
        let source = source(options, &topic);
        let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), "SELECT * FROM input").await.unwrap();
        assert_eq!(read.rows, 2);
    }
}

#[tokio::test]
async fn a_client_certificate_may_be_shown() {
    let (Some(broker), Some(secured)) = (broker("kafka client certificate"), secured("kafka client certificate"))
    else {
        return;
    };
    let (Some(certificate), Some(key)) =
        (variable("STOCKFLOW_TEST_KAFKA_CLIENT_CERT"), variable("STOCKFLOW_TEST_KAFKA_CLIENT_KEY"))
    else {
        left_out("kafka client certificate: STOCKFLOW_TEST_KAFKA_CLIENT_CERT and …_KEY are not set");
        return;
    };
    let topic = broker.topic(1, &[]).await;
    let options = secured.options("reader").with_client_certificate(certificate, key);
    assert!(source(options, &topic).plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn wrong_passwords_and_certificates_are_said_at_once() {
    let (Some(broker), Some(secured)) = (broker("kafka wrong login"), secured("kafka wrong login")) else { return };
    let topic = broker.topic(1, &[]).await;
    let login = |options: KafkaOptions, user: &str, password: &str| {
        options.with_login(SaslMechanism::ScramSha256, user, Secret::new(password))
    };
    let tls = || KafkaOptions::new(&secured.brokers).with_ca(&secured.ca).with_timeout(Duration::from_secs(20));
    let wrong = refused("wrong password", login(tls(), "stockflow", "a wrong secret"), &topic).await;
    assert!(wrong.contains("check `user`, `password` and `sasl`"), "{wrong}");
    let unknown = refused("unknown user", login(tls(), "nobody", "a wrong secret"), &topic).await;
    assert!(unknown.contains("check `user`, `password` and `sasl`"), "{unknown}");
    let other = KafkaOptions::new(&secured.brokers).with_ca(&secured.other_ca).with_timeout(Duration::from_secs(20));
    let other = refused("wrong CA", login(other, "stockflow", &secured.password), &topic).await;
    assert!(other.contains("certificate") && other.contains("check `tls`, `ca`"), "{other}");
}

#[tokio::test]
async fn a_certificate_that_has_run_out_is_said_at_once() {
    let Some(secured) = secured("kafka expired certificate") else { return };
    let (Some(certificate), Some(key)) =
        (variable("STOCKFLOW_TEST_KAFKA_EXPIRED_CERT"), variable("STOCKFLOW_TEST_KAFKA_EXPIRED_KEY"))
    else {
        left_out("kafka expired certificate: STOCKFLOW_TEST_KAFKA_EXPIRED_CERT and …_KEY are not set");
        return;
    };
    let server = Expired::start(certificate.as_ref(), key.as_ref());
    let text =
        refused("expired certificate", Secured { brokers: server.address.clone(), ..secured }.options("reader"), "t")
            .await;
    assert!(text.contains("certificate") && text.contains("has not expired"), "{text}");
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let (Some(broker), Some(secured)) = (broker("kafka rights"), secured("kafka rights")) else { return };
    let topic = broker.topic(1, &[]).await;
    broker.send(&topic, 0, &[b"{\"symbol\":\"A\"}"]);
    let read = refused("missing right, reading a topic", secured.options("stranger"), &topic).await;
    assert!(read.contains("uthorization failed") && read.contains("Read and Describe"), "{read}");
    let tokens = broker.topic(1, &[]).await;
    for (case, user, what) in [
        ("missing right, writing a topic", "stranger", "on the topic"),
        ("missing right, transactional id", "reader", "on the transactional id"),
    ] {
        let sink = KafkaSink::new(secured.options(user), &topic).with_token_topic(&tokens);
        let id = SinkId::new(format!("it-{}", uuid::Uuid::new_v4().simple()), "bars");
        let error: Error = sink.open(&id, Generation(1)).await.unwrap_err();
        let text = error.chain().join(": ");
        assert_eq!(error.class(), ErrorClass::Config, "{text}");
        assert!(text.contains("uthorization failed; grant the user") && text.contains(what), "{text}");
        bad_input::told("kafka", case, &error);
    }
}

#[tokio::test]
async fn access_rules_are_compared_and_made() {
    let (Some(broker), Some(secured)) = (broker("kafka access rules"), secured("kafka access rules")) else { return };
    let topic = broker.topic(1, &[]).await;
    broker.send(&topic, 0, &[b"{\"symbol\":\"A\"}"]);
    let admin = secured.options("stockflow");
    let group = Resource::Group(format!("{topic}-group"));
    let rule = AccessRule { resource: group, principal: "User:stranger".into(), operation: Operation::Read };
    let spec = |readers: &[&str], besides: &[AccessRule]| {
        let readers = Some(readers.iter().map(|it| (*it).to_owned()).collect());
        let access = TopicAccess { readers, writers: None, besides: besides.to_vec() };
        [TopicSpec { name: topic.clone(), access, ..TopicSpec::default() }]
    };
    let wanted = spec(&["User:stranger", "User:stockflow"], &[rule]);
    let stranger = source(secured.options("stranger"), &topic);
    let denied = stranger.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err();
    assert_eq!(denied.class(), ErrorClass::Config);

    // `stockflow` has the rule for all topics; the others are missing.
    let told = |found: Vec<TopicDifference>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let missing = told(check_topics(&admin, &wanted).await.unwrap());
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains(&format!("no rule says that `User:stranger` may Read topic `{topic}`")), "{missing:?}");
    assert!(missing[1].contains(&format!("Read consumer group `{topic}-group`")), "{missing:?}");
    assert_eq!(apply_topics(&admin, &wanted).await.unwrap(), []);
    assert_eq!(check_topics(&admin, &wanted).await.unwrap(), [], "the brokers have the rules");
    assert_eq!(apply_topics(&admin, &wanted).await.unwrap(), [], "a second time");

    let read = read_from(&stranger, &Checkpoint::new(), &EpochLimit::default(), "SELECT * FROM input").await.unwrap();
    assert_eq!(read.rows, 1);

    let unnamed = told(check_topics(&admin, &spec(&["User:reader"], &[])).await.unwrap());
    assert_eq!(unnamed.len(), 1, "{unnamed:?}");
    assert!(unnamed[0].contains("`User:stranger` may Read it, and is not named: name it in the file"), "{unnamed:?}");
    let error = check_topics(&secured.options("reader"), &wanted).await.unwrap_err();
    let text = error.chain().join(": ");
    assert_eq!(error.class(), ErrorClass::Config, "{text}");
    assert!(text.contains("may not see or change access rules; grant it Describe and Alter on the cluster"), "{text}");
    bad_input::told("kafka", "missing right, access rules", &error);
}
