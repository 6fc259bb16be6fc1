//! What librdkafka says, in our words: the class decides what is retried, the text says what to do.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use stockflow_core::{Error, ErrorClass, Origin};

/// An error of the client or of the brokers.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: Option<Code>,
    pub(super) class: ErrorClass,
    /// Whether the same call will not succeed later: its transaction is over.
    pub(super) ends: bool,
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// An error that a call gave.
    pub(super) fn of(error: &KafkaError) -> Self {
        match error {
            // Its text repeats the value, which may be a password.
            KafkaError::ClientConfig(_, reason, key, _) => Self::config(format!("setting `{key}`: {reason}")),
            KafkaError::ClientCreation(reason) => Self::config(reason.clone()),
            KafkaError::Transaction(cause) => {
                let mut failure = Self::told(cause.code(), &cause.string());
                failure.ends = cause.is_fatal() || cause.txn_requires_abort();
                failure
            }
            other => match other.rdkafka_error_code() {
                Some(code) => Self::told(code, ""),
                None => Self::transient(other.to_string()),
            },
        }
    }

    /// A code with what is known of its reason.
    pub(super) fn told(code: Code, reason: &str) -> Self {
        let mut text = if reason.is_empty() { plain(code) } else { reason.trim().trim_end_matches('.').to_owned() };
        if let Some(step) = next_step(code) {
            text = format!("{text}; {step}");
        }
        Self { code: Some(code), class: class(code), ends: false, text }
    }

    /// The same, with what it is about.
    pub(super) fn about(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    pub(super) fn config(text: impl Into<String>) -> Self {
        Self { code: None, class: ErrorClass::Config, ends: false, text: text.into() }
    }

    pub(super) fn transient(text: impl Into<String>) -> Self {
        Self { code: None, class: ErrorClass::Transient, ends: false, text: text.into() }
    }

    pub(super) fn is(&self, code: Code) -> bool {
        self.code == Some(code)
    }

    /// Whether a newer producer with the same transactional id has taken over.
    pub(super) fn is_fenced(&self) -> bool {
        matches!(self.code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
    }

    /// The error with its place.
    pub(super) fn at(self, origin: Origin, operation: &'static str) -> Error {
        Error::Connector { origin: Box::new(origin), operation, class: self.class, source: Box::new(self) }
    }
}

/// The place of a topic.
pub(super) fn origin(topic: &str) -> Origin {
    Origin::new("kafka").partition(topic)
}

/// librdkafka's own words without the prefix that says who found the error.
fn plain(code: Code) -> String {
    let text = code.to_string();
    text.split_once(" (").map_or(text.as_str(), |(_, text)| text.trim_end_matches(')')).to_owned()
}

fn class(code: Code) -> ErrorClass {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::SecurityDisabled
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidTransactionTimeout
        | Code::PolicyViolation
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::NotImplemented
        | Code::UnknownMemberId
        | Code::InvalidArgument => ErrorClass::Config,
        Code::MessageSizeTooLarge
        | Code::InvalidRecord
        | Code::BadMessage
        | Code::BadCompression
        | Code::InvalidTimestamp => ErrorClass::Data,
        _ => ErrorClass::Transient,
    }
}

/// What somebody can do about it.
fn next_step(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => "check `user`, `password` and `sasl`",
        Code::SSL => {
            "check `tls`, `ca`, and that the brokers' certificate has not expired and bears the name in `brokers`"
        }
        Code::UnsupportedSASLMechanism => "choose another `sasl`",
        Code::TopicAuthorizationFailed => {
            "grant the user Read and Describe (source) or Write, Describe and Create (sink) on the topic"
        }
        Code::GroupAuthorizationFailed => "grant the user Read on the group, or leave `group` out",
        Code::TransactionalIdAuthorizationFailed => {
            "grant the user Write and Describe on the transactional id `<pipeline>/<sink>`"
        }
        Code::ClusterAuthorizationFailed => "grant the user IdempotentWrite on the cluster, or Create for new topics",
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            "create the topic (`stockflow topics apply`), or check its name"
        }
        Code::SecurityDisabled => {
            "set `authorizer.class.name` for the brokers, or leave `topic_readers` and `topic_writers` out"
        }
        Code::UnknownMemberId => "others read in its name: choose another `group`",
        Code::MessageSizeTooLarge => "raise the topic's `max.message.bytes`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_next_steps() {
        let failure = Failure::told(Code::TopicAuthorizationFailed, "");
        assert_eq!(failure.class, ErrorClass::Config);
        assert!(failure.to_string().contains("authorization failed; grant the user"), "{failure}");
        assert_eq!(Failure::told(Code::BrokerTransportFailure, "").class, ErrorClass::Transient);
        assert_eq!(Failure::told(Code::MessageSizeTooLarge, "").class, ErrorClass::Data);
        assert!(Failure::told(Code::ProducerFenced, "").is_fenced());
    }

    #[test]
    fn a_wrong_setting_does_not_repeat_its_value() {
        use rdkafka::types::RDKafkaConfRes;
        let error = KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "invalid".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        assert!(!Failure::of(&error).to_string().contains("hunter2"));
    }
}
