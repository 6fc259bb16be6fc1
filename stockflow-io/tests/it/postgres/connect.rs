//! Getting in, and what is told when that fails: never the password, never without an end.

use std::time::{Duration, Instant};

use stockflow_core::sink::Sink;
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_core::token::Generation;
use stockflow_core::{Error, ErrorClass};
use stockflow_io::postgres::{PostgresOptions, PostgresSink, SslMode};
use stockflow_io::secret::Secret;

use super::server::{OwnServer, file, place};
use crate::bad_input;
use crate::support::{open, sink_id, token, write};

async fn fails(options: PostgresOptions, class: ErrorClass, wanted: &[&str]) -> Error {
    let sink = PostgresSink::new(options, "t").unwrap();
    let error = sink.open(&sink_id(), Generation(1)).await.unwrap_err();
    let told = error.chain().join(": ");
    assert_eq!(error.class(), class, "{told}");
    for text in wanted {
        assert!(told.contains(text), "`{text}` is not in: {told}");
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_scram_or_a_client_certificate() {
    let Some(place) = place("TLS").await else { return };
    let url = |user: &str, more: &str| format!("{}{more}", place.url.replace("stockflow@", &format!("{user}@")));
    let verified = PostgresOptions::parse(&url("stockflow", ""))
        .unwrap()
        .with_ca(file("CA"))
        .with_password(Secret::new(&place.password));
    assert_eq!(verified.sslmode(), SslMode::VerifyFull, "unless told otherwise");
    let sink = PostgresSink::new(verified, &place.table("bars")).unwrap();
    open(&sink, 1).await;
    let rows = rows_of(bars_relation(), vec![bars("AAA", &[(0, 1.0)], 1).unwrap()]).unwrap();
    let staged = sink.stage(&token(1), &rows).await.unwrap();
    let encrypted = place
        .lines("SELECT DISTINCT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'stockflow' AND ssl AND pid <> pg_backend_pid()")
        .await;
    assert!(encrypted.contains(&"TLSv1.3".to_owned()), "{encrypted:?}");
    sink.commit(staged).await.unwrap();

    let anybody = PostgresOptions::parse(&url("stockflow", "?sslmode=require"))
        .unwrap()
        .with_password(Secret::new(&place.password));
    open(&PostgresSink::new(anybody, &place.table("bars")).unwrap(), 2).await;

    place.run(&format!("GRANT ALL ON SCHEMA {} TO stockflow_cert", place.schema)).await;
    let certified = PostgresOptions::parse(&url("stockflow_cert", ""))
        .unwrap()
        .with_ca(file("CA"))
        .with_client_certificate(file("CLIENT_CERT"), file("CLIENT_KEY"));
    place.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO stockflow_cert").await;
    place.run(&format!("GRANT ALL ON ALL TABLES IN SCHEMA {} TO stockflow_cert", place.schema)).await;
    open(&PostgresSink::new(certified, &place.table("bars")).unwrap(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificates_are_told() {
    let Some(place) = place("certificates").await else { return };
    let options = |url: &str| PostgresOptions::parse(url).unwrap().with_password(Secret::new(&place.password));
    let other = options(&place.url).with_ca(file("OTHER_CA"));
    let error = fails(other, ErrorClass::Config, &["UnknownIssuer", "check `ca`"]).await;
    bad_input::told("postgres", "wrong CA", &error);
    fails(options(&place.url), ErrorClass::Config, &["certificate"]).await;
    fails(options(&place.url).with_ca("/nowhere/ca.pem"), ErrorClass::Config, &["`/nowhere/ca.pem` cannot be used"])
        .await;
    fails(
        options(&place.url).with_ca(file("CA")).with_client_certificate(file("CLIENT_KEY"), file("CLIENT_KEY")),
        ErrorClass::Config,
        &["there is no certificate in it"],
    )
    .await;
    // Without one, where the server wants one.
    let url = place.url.replace("stockflow@", "stockflow_cert@");
    let without = PostgresOptions::parse(&url).unwrap().with_ca(file("CA"));
    let error = fails(without, ErrorClass::Config, &["client certificate", "28000"]).await;
    bad_input::told("postgres", "no client certificate", &error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_run_out_is_told() {
    let Some(server) = OwnServer::start("expired certificate") else { return };
    let (place, ca) = (server.place().await, server.file("CA"));
    let options =
        || PostgresOptions::parse(&place.url).unwrap().with_ca(&ca).with_password(Secret::new(&place.password));
    open(&PostgresSink::new(options(), &place.table("t")).unwrap(), 1).await;
    server.show_expired_certificate(&place).await;
    let error = fails(options(), ErrorClass::Config, &["xpired", "check `ca`"]).await;
    bad_input::told("postgres", "expired certificate", &error);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_databases_and_rights_are_told_with_the_next_step() {
    let Some(place) = place("rights").await else { return };
    let options = |url: &str| PostgresOptions::parse(&format!("{url}?sslmode=disable")).unwrap();
    let wrong = "not-the-password";
    let error = fails(
        options(&place.url).with_password(Secret::new(wrong)),
        ErrorClass::Config,
        &["password authentication failed", "28P01", "pg_hba.conf"],
    )
    .await;
    bad_input::told("postgres", "wrong password", &error);
    assert!(!format!("{error:?} {}", error.chain().join(" ")).contains(wrong));
    let error = fails(options(&place.url), ErrorClass::Config, &["password"]).await;
    bad_input::told("postgres", "no password", &error);
    let password = || Secret::new(&place.password);
    let nowhere = format!("{}_nowhere", place.url);
    let nowhere = options(&nowhere).with_password(password());
    let error = fails(nowhere, ErrorClass::Config, &["3D000", "create the database"]).await;
    bad_input::told("postgres", "database missing", &error);
    let reader = place.url.replace("stockflow@", "stockflow_read@");
    let reader = options(&reader).with_password(password());
    let error = fails(reader, ErrorClass::Config, &["42501", "grant the user the right"]).await;
    bad_input::told("postgres", "missing right", &error);
    let sink = PostgresSink::new(place.options(), "no_such_schema.t").unwrap();
    let error = sink.open(&sink_id(), Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.chain().join(": ").contains("create the schema"), "{error:?}");
    bad_input::told("postgres", "schema missing", &error);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_waited_for_with_a_limit() {
    // Nobody listens on a port that was just free.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = |port: u16, mode: &str| {
        PostgresOptions::parse(&format!("postgres://u@127.0.0.1:{port}/d?sslmode={mode}"))
            .unwrap()
            .with_connect_timeout(Duration::from_millis(300))
    };
    let absent = options(free.port(), "disable");
    let error = fails(absent, ErrorClass::Transient, &["Connection refused", "127.0.0.1"]).await;
    bad_input::told("postgres", "server not there", &error);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    for mode in ["disable", "verify-full"] {
        let error = fails(options(port, mode), ErrorClass::Transient, &["no answer within 0.3 s"]).await;
        bad_input::told("postgres", "silent server", &error);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    // A server without TLS says so with one letter.
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = silent.accept().await {
            let mut request = [0; 8];
            if stream.read_exact(&mut request).await.is_ok() {
                let _ = stream.write_all(b"N").await;
            }
        }
    });
    let error =
        fails(options(port, "verify-full"), ErrorClass::Config, &["does not support TLS", "sslmode = \"disable\""])
            .await;
    bad_input::told("postgres", "server without TLS", &error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_cancelled_and_transient() {
    let Some(place) = place("deadline").await else { return };
    open(&place.sink("t"), 1).await;
    let blocker = place.client().await;
    let lock = format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", place.table("stockflow_tokens"));
    blocker.batch_execute(&lock).await.unwrap();
    let options = place.options().with_timeout(Duration::from_millis(300));
    let sink = PostgresSink::new(options, &place.table("t")).unwrap();
    let error = sink.open(&sink_id(), Generation(2)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
    blocker.batch_execute("ROLLBACK").await.unwrap();
    open(&sink, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_nowhere() {
    let Some(place) = place("secrets").await else { return };
    let sink = place.sink("bars");
    open(&sink, 1).await;
    let rows = rows_of(bars_relation(), vec![bars("AAA", &[(0, 1.0)], 1).unwrap()]).unwrap();
    let staged = sink.stage(&token(1), &rows).await.unwrap();
    let mut all = format!("{sink:?} {staged:?} {} {}", sink.definition(), place.options());
    let written = sink.commit(staged).await.unwrap();
    all.push_str(&format!("{written:?}"));
    write(&sink, 2, &rows).await;
    all.push_str(&place.lines("SELECT t::text FROM stockflow_tokens t").await.join("\n"));
    all.push_str(&place.lines("SELECT t::text FROM stockflow_migrations t").await.join("\n"));
    all.push_str(&place.lines("SELECT coalesce(query, '') || application_name FROM pg_stat_activity").await.join("\n"));
    assert!(all.contains("stockflow_tokens") && !all.contains(&place.password));
}
