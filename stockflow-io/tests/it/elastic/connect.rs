//! Getting in, and what is told when that fails: never a secret, never without an end.

use std::time::{Duration, Instant};

use stockflow_core::sink::Sink;
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_core::token::Generation;
use stockflow_core::{Error, ErrorClass};
use stockflow_io::elastic::{ElasticOptions, ElasticSink};
use stockflow_io::secret::Secret;

use super::server::{file, place, secured, variable};
use crate::bad_input;
use crate::expired::Expired;
use crate::support::{open, sink_id, token, write};

async fn fails(options: ElasticOptions, class: ErrorClass, wanted: &[&str]) -> Error {
    let start = Instant::now();
    let sink = ElasticSink::new(options, "never-made").unwrap();
    let error = sink.open(&sink_id(), Generation(1)).await.unwrap_err();
    let told = error.chain().join(": ");
    assert_eq!(error.class(), class, "{told}");
    for text in wanted {
        assert!(told.contains(text), "`{text}` is not in: {told}");
    }
    for secret in [variable("PASSWORD"), variable("API_KEY")].into_iter().flatten() {
        assert!(!format!("{told} {error:?} {sink:?} {}", sink.definition()).contains(&secret), "{told}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "after {:?}: {told}", start.elapsed());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn by_password_by_api_key_and_with_a_client_certificate() {
    let Some(place) = secured("logins") else { return };
    let plain = || ElasticOptions::parse(&place.url).unwrap().with_ca(file("CA"));
    let key = || plain().with_api_key(Secret::new(variable("API_KEY").unwrap()));
    for (name, options) in [
        ("password", place.options()),
        ("API key", key()),
        ("client certificate", key().with_client_certificate(file("CLIENT_CERT"), file("CLIENT_KEY"))),
    ] {
        let sink = place.another().sink_by(options.clone());
        open(&sink, 1).await;
        let rows = rows_of(bars_relation(), vec![bars("AAA", &[(0, 1.0)], 1).unwrap()]).unwrap();
        assert_eq!(write(&sink, 1, &rows).await.rows, 1, "{name}");
        assert!(options.check().await.unwrap().starts_with("Elasticsearch 9."), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_logins_and_rights_are_told_with_the_next_step() {
    let Some(place) = secured("wrong logins") else { return };
    let plain = || ElasticOptions::parse(&place.url).unwrap().with_ca(file("CA"));
    let wrong = "not-the-password";
    for (case, options) in [
        ("no login", plain()),
        ("wrong password", plain().with_login("elastic", Secret::new(wrong))),
        ("wrong API key", plain().with_api_key(Secret::new("bm90OnJpZ2h0"))),
    ] {
        let error =
            fails(options, ErrorClass::Config, &["HTTP 401", "check `user` and `password`, or `api_key`"]).await;
        bad_input::told("elasticsearch", case, &error);
        assert!(!format!("{error:?} {}", error.chain().join(" ")).contains(wrong));
    }
    // May look, and not write: neither the fence nor rows.
    open(&place.another().sink(), 1).await;
    let (_, password) = place.login.clone().unwrap();
    let reader = || plain().with_login("reader", Secret::new(&password));
    let error = fails(reader(), ErrorClass::Config, &["HTTP 403", "grant the user the right"]).await;
    bad_input::told("elasticsearch", "missing right", &error);
    let strange = plain().with_api_key(Secret::new("line\nbreak"));
    fails(strange, ErrorClass::Config, &["a character that HTTP cannot carry"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificates_are_told() {
    let Some(place) = secured("certificates") else { return };
    let parse = |url: &str| place.with_login(ElasticOptions::parse(url).unwrap());
    let hint = "check `ca`, `client_cert` and the host name in the URL";
    let other = parse(&place.url).with_ca(file("OTHER_CA"));
    let error = fails(other, ErrorClass::Config, &["UnknownIssuer", hint]).await;
    bad_input::told("elasticsearch", "wrong CA", &error);
    fails(parse(&place.url), ErrorClass::Config, &["certificate"]).await;
    fails(parse(&place.url).with_ca("/nowhere/ca.pem"), ErrorClass::Config, &["`/nowhere/ca.pem` cannot be used"])
        .await;
    // Signed by an authority that the server does not know.
    let stranger = place.options().with_client_certificate(file("STRANGER_CERT"), file("STRANGER_KEY"));
    fails(stranger, ErrorClass::Config, &[hint]).await;
    let server = Expired::start(&file("EXPIRED_CERT"), &file("EXPIRED_KEY"));
    let url = format!("https://{}", server.address);
    let error = fails(parse(&url).with_ca(file("CA")), ErrorClass::Config, &["Expired", hint]).await;
    bad_input::told("elasticsearch", "expired certificate", &error);
    // TLS where there is none, and none where it is.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in plain.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    fails(parse(&url).with_ca(file("CA")), ErrorClass::Config, &["does not speak TLS", "`http://`"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_says_nothing_is_waited_for_with_a_limit() {
    // Nobody listens on a port that was just free.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = |port: u16| {
        ElasticOptions::parse(&format!("http://127.0.0.1:{port}")).unwrap().with_timeout(Duration::from_secs(1))
    };
    let error = fails(options(free.port()), ErrorClass::Transient, &["Connection refused", "127.0.0.1"]).await;
    bad_input::told("elasticsearch", "server not there", &error);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = fails(options(port), ErrorClass::Transient, &["no answer within 1 s"]).await;
    bad_input::told("elasticsearch", "silent server", &error);
    fails(
        ElasticOptions::parse(&format!("https://127.0.0.1:{port}"))
            .unwrap()
            .with_connect_timeout(Duration::from_millis(300)),
        ErrorClass::Transient,
        &["127.0.0.1"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_something_else_is_told() {
    let server = crate::server::Server::start(crate::server::script::Script::default()).await;
    let options = ElasticOptions::parse(server.base().as_str()).unwrap();
    fails(options, ErrorClass::Config, &["HTTP 404"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_not_open_and_a_fence_that_was_removed() {
    let Some(place) = place("fence removed") else { return };
    let rows = rows_of(bars_relation(), vec![bars("AAA", &[(0, 1.0)], 1).unwrap()]).unwrap();
    let meta = format!("{}-fences", place.index);
    let sink = place.sink().with_meta_index(&meta).unwrap();
    assert_eq!(sink.stage(&token(1), &rows).await.unwrap_err().class(), ErrorClass::Internal);
    open(&sink, 1).await;
    let staged = sink.stage(&token(1), &rows).await.unwrap();
    place.tell("DELETE", &meta, serde_json::Value::Null).await;
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("was removed by others; run again"), "{error}");
    assert!(place.ids().await.is_empty());
    open(&sink, 1).await;
    assert_eq!(write(&sink, 1, &rows).await.rows, 1);
}
