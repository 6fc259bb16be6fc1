//! The crossing from PostgreSQL's errors to ours: the class by SQLSTATE, what the server said, and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use stockflow_core::{Error, ErrorClass, Origin};
use tokio_postgres::error::{DbError, SqlState};

use super::stage::STAGE;

/// A text of the server may hold whole rows.
const LONGEST: usize = 500;

/// What to do where nobody answers.
const UNREACHABLE: &str = "check that it runs, and the host and port in the URL";

/// Why a call of the server failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server or the client library said so.
    Server(tokio_postgres::Error),
    /// There was no answer in time.
    Late(Duration),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => f.write_str(&told(error)),
            Self::Late(after) => {
                write!(f, "the server gave no answer within {} s; {UNREACHABLE}", after.as_secs_f64())
            }
        }
    }
}

// What lies beneath is told by `Display`, so that it is told once.
impl StdError for Fault {}

impl Fault {
    /// What the server said, if it was the server.
    pub(super) fn db(&self) -> Option<&DbError> {
        match self {
            Self::Server(error) => error.as_db_error(),
            Self::Late(_) => None,
        }
    }

    pub(super) fn code(&self) -> Option<&SqlState> {
        self.db().map(DbError::code)
    }

    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Late(_) => ErrorClass::Transient,
            Self::Server(error) => match error.as_db_error() {
                Some(db) => class_of_state(db.code().code()),
                None => class_of_client(error),
            },
        }
    }

    /// The error with its place.
    pub(super) fn at(self, operation: &'static str, origin: &Origin) -> Error {
        Error::Connector { origin: Box::new(origin.clone()), operation, class: self.class(), source: Box::new(self) }
    }
}

/// The class of a SQLSTATE.
///
/// | class | |
/// |---|---|
/// | 08, 53, 57, 40, 55 | transient: a connection, resources, a shutdown or a cancelled statement, a conflict of transactions, a lock |
/// | 22, 23, 44, 54000 | data: a value or a constraint; 54000 is an index row that is too large |
/// | 28, 3D, 3F, 42, 0A, 25006, 54, 58 | config: authorisation, names, privileges, a feature, a read-only server, limits, the server's disk |
/// | others | internal |
pub(super) fn class_of_state(code: &str) -> ErrorClass {
    match code {
        "54000" => return ErrorClass::Data,
        "25006" => return ErrorClass::Config,
        // `object_not_in_prerequisite_state`: a deferrable key, a sequence never used.
        "55000" => return ErrorClass::Config,
        _ => {}
    }
    match code.get(..2).unwrap_or_default() {
        "08" | "40" | "53" | "55" | "57" => ErrorClass::Transient,
        "22" | "23" | "44" => ErrorClass::Data,
        "0A" | "28" | "3D" | "3F" | "42" | "54" | "58" => ErrorClass::Config,
        _ => ErrorClass::Internal,
    }
}

/// What to do about a SQLSTATE, where there is something to do.
fn next_step(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => {
            "check the user in the URL, `password` or the client certificate, and the server's pg_hba.conf"
        }
        "3D000" => "create the database, or correct the URL",
        "3F000" => "create the schema, or correct `table`",
        "42501" => "grant the user the right, or let a user who has it run `stockflow db migrate`",
        "42P01" => {
            "correct its name, or create the table: of a sink by `stockflow db migrate`, or by itself with `create = true`"
        }
        "42601" | "42703" => "correct the query, or the names of columns in it",
        "42P10" | "42704" => "the table needs a unique index on exactly the key's columns",
        "25006" => "this server only reads: connect to the primary",
        "53300" => "the server has no connection left: raise its max_connections, or close others",
        "55P03" => "another session holds a lock on it: see pg_locks and pg_stat_activity, and end its transaction",
        "57014" => "the statement was cancelled, by hand or because it took longer than `timeout`",
        _ => return None,
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What the server said about a row, as the reason of its refusal.
pub(super) fn reason(db: &DbError) -> String {
    // Nobody knows our staging table, whose checks are those of the table.
    let mut text = db.message().replace(&format!("relation \"{STAGE}\""), "the table");
    if let Some(detail) = db.detail().filter(|detail| !detail.starts_with("Failing row contains")) {
        text = format!("{text}: {detail}");
    }
    format!("{} (SQLSTATE {})", shortened(&text), db.code().code())
}

fn told(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return told_of_client(error) };
    let mut text = reason(db);
    if let Some(hint) = db.hint() {
        text = format!("{text}; {}", shortened(hint));
    }
    match next_step(db.code().code()) {
        Some(step) => format!("{text}; {step}"),
        None => text,
    }
}

fn causes(error: &tokio_postgres::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut found = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        found.push(cause);
        next = match cause.downcast_ref::<std::io::Error>() {
            // An io error gives the source of what it wraps, not that itself.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => cause.source(),
        };
    }
    found
}

fn told_of_client(error: &tokio_postgres::Error) -> String {
    let mut texts = vec![error.to_string()];
    for cause in causes(error) {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    let text = texts.join(": ");
    if text.contains("server does not support TLS") {
        return format!("{text}; set `sslmode = \"disable\"` if the way to it is safe");
    }
    if is_certificate(error) {
        return format!(
            "{text}; check `ca`, `client_cert` and the host name in the URL against the server's certificate"
        );
    }
    if text.contains("password missing") {
        return format!("{text}; set `password`, as `env:NAME`, `file:PATH` or `command:LINE`");
    }
    if text.contains("connecting to server") {
        return format!("{text}; {UNREACHABLE}");
    }
    text
}

fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    causes(error).into_iter().find_map(|cause| cause.downcast_ref())
}

fn is_certificate(error: &tokio_postgres::Error) -> bool {
    matches!(
        tls_error(error),
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::AlertReceived(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::UnsupportedNameType
        )
    )
}

fn class_of_client(error: &tokio_postgres::Error) -> ErrorClass {
    if error.is_closed() {
        return ErrorClass::Transient;
    }
    if let Some(tls) = tls_error(error) {
        // What a peer garbles may come right; what it is, and what it wants, does not change.
        let garbled = matches!(tls, rustls::Error::InvalidMessage(_) | rustls::Error::DecryptError);
        return if garbled { ErrorClass::Transient } else { ErrorClass::Config };
    }
    if causes(error).iter().any(|cause| cause.is::<std::io::Error>()) {
        return ErrorClass::Transient;
    }
    let text = error.to_string();
    if text.contains("connecting to server") || text.contains("timeout") || text.contains("communicating") {
        ErrorClass::Transient
    } else if text.contains("TLS") || text.contains("configuration") || text.contains("authentication") {
        ErrorClass::Config
    } else {
        ErrorClass::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[&str], class: ErrorClass) {
        for code in codes {
            assert_eq!(class_of_state(code), class, "{code}");
        }
    }

    #[test]
    fn outages_are_transient() {
        check(
            &["08006", "08P01", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03"],
            ErrorClass::Transient,
        );
    }

    #[test]
    fn values_and_constraints_are_data() {
        check(&["22001", "22003", "22021", "22P02", "23502", "23505", "23514", "44000", "54000"], ErrorClass::Data);
    }

    #[test]
    fn what_someone_must_change_is_config() {
        check(
            &[
                "28P01", "28000", "3D000", "3F000", "42P01", "42501", "42703", "0A000", "25006", "55000", "54011",
                "58030",
            ],
            ErrorClass::Config,
        );
    }

    #[test]
    fn anything_else_is_internal() {
        check(&["XX000", "26000", "P0001", ""], ErrorClass::Internal);
    }
}
