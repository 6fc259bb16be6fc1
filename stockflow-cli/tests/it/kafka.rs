//! Pipelines from files into a topic and from there into files, and the topics that they need.

use crate::place::{Place, leave_out};

/// A broker of `scripts/services`.
pub(crate) fn broker(test: &str) -> Option<String> {
    let found = std::env::var("STOCKFLOW_TEST_KAFKA").ok();
    if found.is_none() {
        leave_out(test, "STOCKFLOW_TEST_KAFKA is not set, see scripts/services");
    }
    found
}

/// Bars of `examples/data` into a topic, and the topic into a folder of Parquet.
fn pipelines(place: &Place, brokers: &str, topic: &str) {
    place.write(
        "in.toml",
        &format!(
            "name = '{topic}-in'\n[source]\ntype = 'file'\npath = 'examples/data'\n\
             [[transform]]\nname = 'normalized'\ntype = 'normalize'\n[[transform]]\nname = 'clean'\ntype = 'clean'\n\
             [[sink]]\nname = 'raw'\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\npartitions = 3\n\
             topic_settings = {{ 'retention.ms' = '86400000' }}\n"
        ),
    );
    place.write(
        "out.toml",
        &format!(
            "name = '{topic}-out'\nmax_rows = 100\n[source]\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\n\
             schema = 'bars'\ngroup = '{topic}-group'\n[[sink]]\nname = 'bars'\ntype = 'parquet'\npath = 'bars'\n"
        ),
    );
}

#[test]
fn topics_are_made_filled_and_read() {
    let Some(brokers) = broker("kafka pipelines") else { return };
    let place = Place::with_few_bars();
    let topic = format!("it-cli-{}", std::process::id());
    pipelines(&place, &brokers, &topic);
    place.run(["run", "in.toml"]).code(1).says(&format!("there is no topic `{topic}`")).says("stockflow topics apply");
    place.run(["topics", "check", "in.toml"]).code(1).prints("it is not there");
    place.run(["topics", "apply", "in.toml"]).ok().prints("as the file says");
    place.run(["topics", "check", "in.toml"]).ok().prints("as the file says");
    place.write("more.toml", &place.read("in.toml").replace("partitions = 3", "partitions = 4"));
    place.run(["topics", "check", "more.toml"]).code(1).prints("3 partitions instead of 4");
    place.write("other.toml", &place.read("in.toml").replace("86400000", "1000"));
    place.run(["topics", "apply", "other.toml"]).code(1).prints("`retention.ms` is `86400000` instead of `1000`");
    place.run(["doctor", "in.toml"]).ok().prints("the topic is there");
    place.run(["validate", "in.toml"]).ok().prints("exactly-once");
    for _ in 0..2 {
        place.run(["run", "in.toml"]).ok();
        place.run(["run", "out.toml"]).ok();
    }
    let said = place
        .run(["sql", "SELECT count(*) AS n, count(DISTINCT symbol || ts) AS keys FROM p", "-f", "p=bars", "--json"])
        .ok();
    assert_eq!(said.json()[0]["n"], 240, "{said:?}");
    assert_eq!(said.json()[0]["keys"], 240, "{said:?}");
}

#[test]
fn who_may_read_and_write_is_a_part_of_the_file() {
    let Some(brokers) = broker("kafka access rules") else { return };
    let secured = ["STOCKFLOW_TEST_KAFKA_TLS", "STOCKFLOW_TEST_KAFKA_CA"].map(|name| std::env::var(name).ok());
    let [Some(tls), Some(ca)] = secured else {
        leave_out("kafka access rules", "STOCKFLOW_TEST_KAFKA_TLS and …_CA are not set, see scripts/services");
        return;
    };
    let place = Place::with_few_bars();
    let topic = format!("it-cli-access-{}", std::process::id());
    pipelines(&place, &brokers, &topic);
    // A file for whoever makes the topic, and one for a user without any right of its own.
    for (name, who) in [("in", "topic_writers"), ("out", "topic_readers")] {
        let plain = format!("brokers = '{brokers}'\n");
        let rules = format!("{plain}{who} = ['User:stranger']\n");
        let login = format!(
            "brokers = '{tls}'\nca = '{ca}'\nuser = 'stranger'\npassword = 'env:STOCKFLOW_TEST_KAFKA_PASSWORD'\n"
        );
        let file = place.read(&format!("{name}.toml"));
        assert!(file.contains(&plain), "{file}");
        place.write(&format!("{name}.toml"), &file.replace(&plain, &rules));
        place.write(&format!("{name}-as-stranger.toml"), &file.replace(&plain, &login));
    }
    place.run(["topics", "apply", "in.toml"]).ok().prints("as the file says");
    place.run(["topics", "check", "in.toml"]).ok();
    place.run(["run", "in-as-stranger.toml"]).ok();
    place.run(["run", "out-as-stranger.toml"]).code(1).says("grant the user Read and Describe");
    let said = place.run(["topics", "check", "out.toml"]).code(1);
    said.prints(&format!("no rule says that `User:stranger` may Read topic `{topic}`"));
    place.run(["topics", "apply", "out.toml"]).ok();
    place.run(["run", "out-as-stranger.toml"]).ok();
    let said = place.run(["sql", "SELECT count(*) AS n FROM p", "-f", "p=bars", "--json"]).ok();
    assert_eq!(said.json()[0]["n"], 240, "{said:?}");
    place.write("other.toml", &place.read("out.toml").replace("User:stranger", "User:reader"));
    place.run(["topics", "check", "other.toml"]).code(1).prints("`User:stranger` may Read it, and is not named");
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    let place = Place::empty();
    place.write(
        "p.toml",
        "name = 'x'\n[source]\ntype = 'kafka'\ntopic = 't'\nuser = 'me'\ntopic_readers = ['me']\nformat = 'avro'\nkey = ['symbol']\n\
         [[sink]]\nname = 's'\ntype = 'kafka'\nbrokers = 'a:1'\ntopic = 't'\nformat = 'avro'\npassword = 'hunter2'\nclient_key = 'k'\n",
    );
    let said = place.run(["validate", "p.toml"]).code(2);
    for wanted in [
        "`source.brokers` is missing",
        "`source.schema` is missing: a topic has no columns of its own",
        "`source.password` is missing beside `user`",
        "`source.topic_readers` names `me`; write it as Kafka does, `User:NAME`",
        "`source.registry` is missing",
        "`sink[0].format` cannot be `avro`",
        "`sink[0].password` must say where the secret is kept",
        "`sink[0].client_key` and `client_cert` belong together",
    ] {
        assert!(said.stderr.contains(wanted), "`{wanted}` is not in:\n{}", said.stderr);
    }
    assert!(!said.stderr.contains("hunter2"));
}
