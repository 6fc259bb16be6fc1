//! Access rules: who may read and write a topic, and what else its readers and writers need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rdkafka::error::RDKafkaErrorCode as Code;
use stockflow_core::Result;

use super::client::{admin, blocking};
use super::error::{Failure, origin};
use super::options::KafkaOptions;
use super::{native, topics};

/// What an access rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic, by its name.
    Topic(String),
    /// A consumer group, by its name.
    Group(String),
    /// A producer's transactional id.
    TransactionalId(String),
}

impl Resource {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::TransactionalId(name) => name,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Group(name) => write!(f, "consumer group `{name}`"),
            Self::TransactionalId(name) => write!(f, "transactional id `{name}`"),
        }
    }
}

/// What may be done with a resource. Who may do either may also describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Read messages of a topic; be a member of a group, and commit its offsets.
    Read,
    /// Write messages to a topic; write in the name of a transactional id.
    Write,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "Read",
            Self::Write => "Write",
        })
    }
}

/// Somebody is allowed something, from any host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// With what.
    pub resource: Resource,
    /// Who, in Kafka's words: `User:name`.
    pub principal: String,
    /// What.
    pub operation: Operation,
}

impl fmt::Display for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` may {} {}", self.principal, self.operation, self.resource)
    }
}

/// Who may do what, as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicAccess {
    /// Who reads the topic, as `User:name`; `None`: nothing is said of it.
    pub readers: Option<Vec<String>>,
    /// Who writes the topic; `None`: nothing is said of it.
    pub writers: Option<Vec<String>>,
    /// What they need besides.
    pub besides: Vec<AccessRule>,
}

impl TopicAccess {
    /// All rules that must hold.
    fn rules(&self, topic: &str) -> Vec<AccessRule> {
        let of = |names: &Option<Vec<String>>, operation| {
            let rule = |principal: String| AccessRule { resource: Resource::Topic(topic.into()), principal, operation };
            names.clone().into_iter().flatten().map(rule).collect::<Vec<_>>()
        };
        let mut rules = of(&self.readers, Operation::Read);
        rules.extend(of(&self.writers, Operation::Write));
        rules.extend(self.besides.iter().cloned());
        rules
    }

    fn of(&self, operation: Operation) -> Option<&[String]> {
        match operation {
            Operation::Read => self.readers.as_deref(),
            Operation::Write => self.writers.as_deref(),
        }
    }
}

/// Whom a rule of the brokers is about.
const EVERYBODY: &str = "User:*";

/// A rule that the brokers have for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) principal: String,
    pub(super) host: String,
    /// `None`: all operations.
    pub(super) operation: Option<Operation>,
    pub(super) allows: bool,
    /// Whether it names this resource alone.
    pub(super) is_own: bool,
}

impl Found {
    fn is_about(&self, rule: &AccessRule) -> bool {
        (self.principal == rule.principal || self.principal == EVERYBODY)
            && self.operation.is_none_or(|operation| operation == rule.operation)
    }
}

/// Where access is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// A rule that nothing gives.
    Missing(AccessRule),
    /// A rule that another one takes away, for a host or for all.
    Denied(AccessRule, String),
    /// Somebody who is not named.
    Unnamed { principal: String, operation: Operation },
}

/// Compares the rules that should hold with those that the brokers have.
fn differences(topic: &str, access: &TopicAccess, found: &BTreeMap<Resource, Vec<Found>>) -> Vec<Difference> {
    let mut differences = Vec::new();
    for rule in access.rules(topic) {
        let about = || found.get(&rule.resource).into_iter().flatten().filter(|it| it.is_about(&rule));
        if let Some(denial) = about().find(|it| !it.allows) {
            differences.push(Difference::Denied(rule, denial.host.clone()));
        } else if !about().any(|it| it.host == "*") {
            differences.push(Difference::Missing(rule));
        }
    }
    let own = found.get(&Resource::Topic(topic.into())).into_iter().flatten().filter(|it| it.is_own && it.allows);
    for it in own {
        for operation in [Operation::Read, Operation::Write] {
            let named = access.of(operation).is_none_or(|names| names.contains(&it.principal));
            let unnamed = Difference::Unnamed { principal: it.principal.clone(), operation };
            if it.operation.is_none_or(|its| its == operation) && !named && !differences.contains(&unnamed) {
                differences.push(unnamed);
            }
        }
    }
    differences
}

/// Where access to a topic is not as it should be.
pub(super) async fn compare(options: &KafkaOptions, topic: &str, access: &TopicAccess) -> Result<Vec<Difference>> {
    if *access == TopicAccess::default() {
        return Ok(Vec::new());
    }
    let (client, name, wanted) = (options.clone(), topic.to_owned(), access.clone());
    let found = blocking(topic, "describe access to", move || {
        let admin = admin(&client)?;
        let mut resources = BTreeSet::from([Resource::Topic(name)]);
        resources.extend(wanted.besides.iter().map(|rule| rule.resource.clone()));
        let rules = |resource| {
            let rules = native::describe_rules(&admin, &resource, client.timeout())?;
            Ok((resource, rules))
        };
        let found = resources.into_iter().map(rules).collect::<Result<BTreeMap<_, _>, Failure>>()?;
        if found.values().all(Vec::is_empty) && !native::may_describe_rules(&admin, client.timeout())? {
            return Err(native::not_allowed());
        }
        Ok(found)
    })
    .await?;
    // librdkafka gives no rules instead of the brokers' word that they keep none.
    if found.values().all(Vec::is_empty) && topics::lacks_authorizer(options, topic).await? {
        return Err(Failure::told(Code::SecurityDisabled, "").at(origin(topic), "describe access to"));
    }
    Ok(differences(topic, access, &found))
}

/// Adds rules.
pub(super) async fn allow(options: &KafkaOptions, topic: &str, rules: Vec<AccessRule>) -> Result<()> {
    let client = options.clone();
    blocking(topic, "allow access to", move || native::create_rules(&admin(&client)?, &rules, client.timeout())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(principal: &str, operation: Option<Operation>, allows: bool, is_own: bool) -> Found {
        Found { principal: principal.into(), host: "*".into(), operation, allows, is_own }
    }

    fn compared(access: &TopicAccess, rules: Vec<Found>) -> Vec<Difference> {
        differences("t", access, &BTreeMap::from([(Resource::Topic("t".into()), rules)]))
    }

    fn rule(principal: &str, operation: Operation) -> AccessRule {
        AccessRule { resource: Resource::Topic("t".into()), principal: principal.into(), operation }
    }

    #[test]
    fn rules_of_all_kinds_give_access_and_denials_take_it_away() {
        use Operation::{Read, Write};
        let readers = Some(vec!["User:a".to_owned()]);
        let access = TopicAccess { readers, ..TopicAccess::default() };
        assert_eq!(compared(&access, vec![]), [Difference::Missing(rule("User:a", Read))]);
        assert_eq!(compared(&access, vec![found("User:a", Some(Write), true, true)]).len(), 1, "another operation");
        assert_eq!(compared(&access, vec![found("User:a", Some(Read), true, true)]), []);
        assert_eq!(compared(&access, vec![found("User:a", None, true, false)]), [], "all operations, by a prefix");
        assert_eq!(compared(&access, vec![found("User:*", Some(Read), true, false)]), [], "everybody");
        let one_host = Found { host: "10.0.0.1".into(), ..found("User:a", Some(Read), true, true) };
        assert_eq!(compared(&access, vec![one_host]), [Difference::Missing(rule("User:a", Read))]);
        let denied = vec![found("User:a", None, true, true), found("User:*", Some(Read), false, false)];
        assert_eq!(compared(&access, denied), [Difference::Denied(rule("User:a", Read), "*".into())]);
    }

    #[test]
    fn who_is_not_named_is_told_where_names_are_given() {
        use Operation::{Read, Write};
        let rules = || vec![found("User:x", None, true, true), found("User:y", None, true, false)];
        assert_eq!(compared(&TopicAccess::default(), rules()), []);
        let access = TopicAccess { writers: Some(vec![]), ..TopicAccess::default() };
        let unnamed = |operation| Difference::Unnamed { principal: "User:x".into(), operation };
        assert_eq!(compared(&access, rules()), [unnamed(Write)], "of readers nothing is said");
        let access = TopicAccess { readers: Some(vec!["User:y".into()]), ..access };
        assert_eq!(compared(&access, rules()), [unnamed(Read), unnamed(Write)]);
    }
}
