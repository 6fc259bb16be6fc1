//! The calls that librdkafka has and its Rust client lacks: access rules, and the id of a topic.
//!
//! Whatever librdkafka hands out is kept in an [`Owned`], which frees it, and what it lends is copied while that lives.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{NonNull, null};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::access::{AccessRule, Found, Operation, Resource};
use super::client::Admin;
use super::error::Failure;

/// Time for librdkafka's own deadline to be heard of.
const GRACE: Duration = Duration::from_secs(1);

/// librdkafka lets a request take no longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Room for a reason.
const REASON: usize = 512;

/// Something of librdkafka's that is freed by us.
struct Owned<T> {
    ptr: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `None` for a null pointer.
    ///
    /// # Safety
    ///
    /// The pointer is null, or nobody else frees what it points to, and `free` does.
    unsafe fn new(ptr: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(ptr).map(|ptr| Self { ptr, free })
    }

    fn get(&self) -> *mut T {
        self.ptr.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: by the contract of `new` it is still there, and this is its function.
        unsafe { (self.free)(self.ptr.as_ptr()) }
    }
}

/// A copy of a text that librdkafka lends.
///
/// # Safety
///
/// The pointer is null or points to a text that ends with a NUL.
unsafe fn text(ptr: *const c_char) -> String {
    if ptr.is_null() {
        return String::new();
    }
    // SAFETY: by this function's own contract.
    unsafe { CStr::from_ptr(ptr) }.to_string_lossy().into_owned()
}

/// A code that is no success, with its reason.
fn failure(code: Code, reason: &str) -> Failure {
    match code {
        Code::ClusterAuthorizationFailed => not_allowed(),
        code => Failure::told(code, reason),
    }
}

pub(super) fn not_allowed() -> Failure {
    Failure::config(
        "the user may not see or change access rules; grant it Describe and Alter on the cluster, or leave `topic_readers` and `topic_writers` out",
    )
}

fn nothing(what: &str) -> Failure {
    Failure::transient(format!("librdkafka gave no {what}"))
}

/// A rule, or what rules are looked for by: both are made by a function of this kind.
type Make = unsafe extern "C" fn(
    sys::rd_kafka_ResourceType_t,
    *const c_char,
    sys::rd_kafka_ResourcePatternType_t,
    *const c_char,
    *const c_char,
    sys::rd_kafka_AclOperation_t,
    sys::rd_kafka_AclPermissionType_t,
    *mut c_char,
    usize,
) -> *mut sys::rd_kafka_AclBinding_t;

fn made(
    make: Make,
    resource: &Resource,
    pattern: sys::rd_kafka_ResourcePatternType_t,
    who: Option<(&str, &str)>,
    operation: sys::rd_kafka_AclOperation_t,
    permission: sys::rd_kafka_AclPermissionType_t,
) -> Result<Owned<sys::rd_kafka_AclBinding_t>, Failure> {
    let kind = match resource {
        Resource::Topic(_) => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
        Resource::Group(_) => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP,
        Resource::TransactionalId(_) => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
    };
    let c_text = |text: &str| CString::new(text).map_err(|_| Failure::config(format!("`{text:?}` holds a NUL")));
    let name = c_text(resource.name())?;
    let who = who.map(|(principal, host)| Ok::<_, Failure>((c_text(principal)?, c_text(host)?))).transpose()?;
    let (principal, host) = who.as_ref().map_or((null(), null()), |(who, host)| (who.as_ptr(), host.as_ptr()));
    let mut reason: [c_char; REASON] = [0; REASON];
    // SAFETY: all texts end with a NUL and outlive the call, which copies them; the reason's room is told.
    let binding = unsafe {
        make(kind, name.as_ptr(), pattern, principal, host, operation, permission, reason.as_mut_ptr(), REASON)
    };
    // SAFETY: it is ours, and this frees it; the reason ends with a NUL, because it was filled with them.
    unsafe {
        Owned::new(binding, sys::rd_kafka_AclBinding_destroy)
            .ok_or_else(|| Failure::config(text(reason.as_ptr())).about(&resource.to_string()))
    }
}

/// Asks the brokers, and waits for the answer. Blocks.
fn ask<C: ClientContext>(
    client: &Client<C>,
    operation: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    call: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Owned<sys::rd_kafka_event_t>, Failure> {
    let client = client.native_ptr();
    let timeout = timeout.min(LONGEST);
    let millis = |time: Duration| c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX);
    let mut reason: [c_char; REASON] = [0; REASON];
    // SAFETY: the client lives longer; queue and options are ours, and freed by their own functions.
    let (queue, options) = unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy);
        let options = Owned::new(sys::rd_kafka_AdminOptions_new(client, operation), sys::rd_kafka_AdminOptions_destroy);
        (queue.ok_or_else(|| nothing("queue"))?, options.ok_or_else(|| nothing("options"))?)
    };
    // SAFETY: the options are there, and the reason's room is told.
    let code = unsafe {
        let set = sys::rd_kafka_AdminOptions_set_request_timeout;
        set(options.get(), millis(timeout), reason.as_mut_ptr(), REASON)
    };
    if Code::from(code) != Code::NoError {
        // SAFETY: it ends with a NUL, because it was filled with them.
        return Err(failure(code.into(), &unsafe { text(reason.as_ptr()) }));
    }
    call(client, options.get(), queue.get());
    // SAFETY: the queue is there; what it gives is ours.
    let event = unsafe {
        let event = sys::rd_kafka_queue_poll(queue.get(), millis(timeout + GRACE));
        Owned::new(event, sys::rd_kafka_event_destroy)
    };
    let event = event.ok_or_else(|| failure(Code::OperationTimedOut, ""))?;
    // SAFETY: the event is there; its text is copied while it is.
    let (code, reason) = unsafe {
        (Code::from(sys::rd_kafka_event_error(event.get())), text(sys::rd_kafka_event_error_string(event.get())))
    };
    if code == Code::NoError { Ok(event) } else { Err(failure(code, &reason)) }
}

/// The rules that are about a resource, by its name, a prefix of it, or all names.
pub(super) fn describe_rules(admin: &Admin, resource: &Resource, timeout: Duration) -> Result<Vec<Found>, Failure> {
    use sys::rd_kafka_AclOperation_t as Op;
    use sys::rd_kafka_AclPermissionType_t as Permission;
    use sys::rd_kafka_ResourcePatternType_t as Pattern;
    let filter = made(
        sys::rd_kafka_AclBindingFilter_new,
        resource,
        Pattern::RD_KAFKA_RESOURCE_PATTERN_MATCH,
        None,
        Op::RD_KAFKA_ACL_OPERATION_ANY,
        Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
    )?;
    let event = ask(
        admin.inner(),
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS,
        timeout,
        |client, options, queue| {
            // SAFETY: all of them outlive the call, which copies the filter.
            unsafe { sys::rd_kafka_DescribeAcls(client, filter.get(), options, queue) }
        },
    )?;
    let mut found = Vec::new();
    // SAFETY: the event is there and lends its rules, of which it tells the number; their texts are copied.
    // An operation that librdkafka does not know it calls unknown.
    unsafe {
        let result = sys::rd_kafka_event_DescribeAcls_result(event.get());
        if result.is_null() {
            return Err(nothing("access rules"));
        }
        let mut n = 0;
        let rules = sys::rd_kafka_DescribeAcls_result_acls(result, &raw mut n);
        for idx in 0..n {
            let rule = *rules.add(idx);
            let allows =
                sys::rd_kafka_AclBinding_permission_type(rule) == Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW;
            let operation = match sys::rd_kafka_AclBinding_operation(rule) {
                // Who may not describe a resource can neither read nor write it.
                Op::RD_KAFKA_ACL_OPERATION_DESCRIBE if !allows => None,
                Op::RD_KAFKA_ACL_OPERATION_READ => Some(Operation::Read),
                Op::RD_KAFKA_ACL_OPERATION_WRITE => Some(Operation::Write),
                Op::RD_KAFKA_ACL_OPERATION_ALL => None,
                _ => continue,
            };
            let pattern = sys::rd_kafka_AclBinding_resource_pattern_type(rule);
            let name = text(sys::rd_kafka_AclBinding_name(rule));
            found.push(Found {
                principal: text(sys::rd_kafka_AclBinding_principal(rule)),
                host: text(sys::rd_kafka_AclBinding_host(rule)),
                operation,
                allows,
                is_own: pattern == Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL && name == resource.name(),
            });
        }
    }
    Ok(found)
}

/// Whether the user may see rules: to one who may not, librdkafka gives none instead of the brokers' refusal.
pub(super) fn may_describe_rules(admin: &Admin, timeout: Duration) -> Result<bool, Failure> {
    let event = ask(
        admin.inner(),
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
        timeout,
        |client, options, queue| {
            // SAFETY: all of them outlive the calls; the options are ours to set until they are used.
            unsafe {
                let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.cast_mut(), 1);
                if !refused.is_null() {
                    sys::rd_kafka_error_destroy(refused);
                }
                sys::rd_kafka_DescribeCluster(client, options, queue);
            }
        },
    )?;
    // SAFETY: the event is there and lends the operations, of which it tells the number.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(event.get());
        if result.is_null() {
            return Err(nothing("answer"));
        }
        let mut n = 0;
        let allowed = sys::rd_kafka_DescribeCluster_result_authorized_operations(result, &raw mut n);
        Ok((0..n).any(|idx| *allowed.add(idx) == sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE))
    }
}

/// Adds rules; one that is there already is no error.
pub(super) fn create_rules(admin: &Admin, rules: &[AccessRule], timeout: Duration) -> Result<(), Failure> {
    let bindings = rules.iter().map(|rule| {
        made(
            sys::rd_kafka_AclBinding_new,
            &rule.resource,
            sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
            Some((&rule.principal, "*")),
            match rule.operation {
                Operation::Read => sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ,
                Operation::Write => sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE,
            },
            sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        )
    });
    let bindings = bindings.collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<_> = bindings.iter().map(Owned::get).collect();
    let event = ask(
        admin.inner(),
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS,
        timeout,
        |client, options, queue| {
            // SAFETY: all of them outlive the call, which copies the rules, of which the number is told.
            unsafe { sys::rd_kafka_CreateAcls(client, all.as_mut_ptr(), all.len(), options, queue) }
        },
    )?;
    // SAFETY: the event is there and lends its results, of which it tells the number; an error lives as long.
    unsafe {
        let result = sys::rd_kafka_event_CreateAcls_result(event.get());
        if result.is_null() {
            return Err(nothing("answer"));
        }
        let mut n = 0;
        let results = sys::rd_kafka_CreateAcls_result_acls(result, &raw mut n);
        for idx in 0..n {
            let error = sys::rd_kafka_acl_result_error(*results.add(idx));
            if !error.is_null() {
                let code = Code::from(sys::rd_kafka_error_code(error));
                let failed = failure(code, &text(sys::rd_kafka_error_string(error)));
                return Err(rules.get(idx).map_or(failed.clone(), |rule| failed.about(&rule.to_string())));
            }
        }
    }
    Ok(())
}

/// The id that the brokers gave a topic when it was made; `None` if it is not there, or they give none.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, Failure> {
    // What brokers without ids say.
    const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    let name = CString::new(topic).map_err(|_| Failure::config(format!("`{topic:?}` holds a NUL")))?;
    let mut names = [name.as_ptr()];
    // SAFETY: the name ends with a NUL and is copied; what is made is ours.
    let topics = unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        Owned::new(topics, sys::rd_kafka_TopicCollection_destroy)
    };
    let topics = topics.ok_or_else(|| nothing("topics"))?;
    let event =
        ask(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |client, options, queue| {
            // SAFETY: all of them outlive the call, which copies the names.
            unsafe { sys::rd_kafka_DescribeTopics(client, topics.get(), options, queue) }
        })?;
    // SAFETY: the event is there and lends the descriptions, of which it tells the number; the id's text is copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(nothing("answer"));
        }
        let mut n = 0;
        let found = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut n);
        if n == 0 {
            return Ok(None);
        }
        let error = sys::rd_kafka_TopicDescription_error(*found);
        if !error.is_null() && Code::from(sys::rd_kafka_error_code(error)) != Code::NoError {
            return match Code::from(sys::rd_kafka_error_code(error)) {
                Code::UnknownTopic | Code::UnknownTopicOrPartition => Ok(None),
                code => Err(failure(code, &text(sys::rd_kafka_error_string(error)))),
            };
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*found);
        let id = if id.is_null() { String::new() } else { text(sys::rd_kafka_Uuid_base64str(id)) };
        // As Kafka's own tools write it.
        let id = id.replace('+', "-").replace('/', "_");
        Ok(Some(id).filter(|id| !id.is_empty() && id != NONE))
    }
}
