//! A pipeline from files into Elasticsearch, and what is found there.

use serde_json::Value;

use crate::place::{Place, Said, leave_out};

/// The server of `scripts/services`, and an index of the test's own.
struct Server {
    url: String,
    /// User and password; none on OpenSearch.
    login: Option<(String, String)>,
    api_key: Option<String>,
    ca: Option<String>,
    index: String,
}

impl Server {
    fn new(test: &str) -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("STOCKFLOW_TEST_ELASTIC_{name}")).ok();
        let Some(url) = variable("URL") else {
            leave_out(test, "STOCKFLOW_TEST_ELASTIC_URL is not set, see scripts/services");
            return None;
        };
        let index = format!("it-cli-{}-{}", test.replace(' ', "-"), std::process::id());
        let login = variable("USER").zip(variable("PASSWORD"));
        Some(Self { url, login, api_key: variable("API_KEY"), ca: variable("CA"), index })
    }

    /// How a sink reaches the server.
    fn reached(&self, place: &Place) -> String {
        let mut text =
            format!("url = '{}'\nrefresh = 'now'\nindex_settings = {{ number_of_replicas = '0' }}\n", self.url);
        if let Some((user, password)) = &self.login {
            place.write("secret.txt", password);
            text.push_str(&format!("user = '{user}'\npassword = 'command:cat secret.txt'\n"));
        }
        if let Some(ca) = &self.ca {
            text.push_str(&format!("ca = '{ca}'\n"));
        }
        text
    }

    /// A pipeline of the bars in `examples/data`.
    fn pipeline(&self, place: &Place) {
        let (server, index) = (self.reached(place), &self.index);
        place.write(
            "p.toml",
            &format!(
                "name = '{index}'\n[source]\ntype = 'file'\npath = 'examples/data'\n\
                 [[transform]]\nname = 'normalized'\ntype = 'normalize'\n[[transform]]\nname = 'clean'\ntype = 'clean'\n\
                 [[sink]]\nname = 'bars'\ntype = 'elasticsearch'\n{server}index = '{index}-bars'\npartition = 'month'\n\
                 [dead_letters]\ntype = 'elasticsearch'\n{server}index = '{index}-letters'\n"
            ),
        );
    }

    /// Runs a command, which must not print a secret.
    #[track_caller]
    fn run<const N: usize>(&self, place: &Place, args: [&str; N]) -> Said {
        let said = place.run(args);
        let secrets = self.login.iter().map(|(_, password)| password).chain(&self.api_key);
        for secret in secrets {
            assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{said:?}");
        }
        said
    }
}

#[test]
fn files_become_an_index_that_is_searched() {
    let Some(server) = Server::new("search") else { return };
    let place = Place::with_few_bars();
    let csv = place.read("examples/data/FB.csv");
    let bad = csv.lines().nth(1).unwrap().split(',').next().unwrap();
    place.write("examples/data/FB.csv", &format!("{csv}{bad},x,y,z,w,v,u\n"));
    server.pipeline(&place);
    let said = server.run(&place, ["validate", "p.toml"]).ok();
    assert_eq!(said.stdout.matches("effectively-once").count(), 2, "{}", said.stdout);
    let said = said.prints("checks the fence right before it commits");
    if server.login.is_some() {
        said.prints("secret: sink[0].password comes from command `cat secret.txt`");
    }
    let doctor = server.run(&place, ["doctor", "p.toml"]).ok();
    assert!(doctor.stdout.contains("Elasticsearch 9.") || doctor.stdout.contains("OpenSearch 3."), "{}", doctor.stdout);
    server
        .run(&place, ["search", "p.toml"])
        .code(1)
        .says("there is no such index or alias; has the pipeline been run?");
    server.run(&place, ["run", "p.toml", "-vv"]).code(3);
    server.run(&place, ["checkpoint", "reset", "p.toml"]).ok();
    server.run(&place, ["run", "p.toml"]).code(3);

    let all = server.run(&place, ["search", "p.toml", "--json"]).ok().json();
    let rows = all.as_array().unwrap();
    assert_eq!(rows.len(), 240);
    assert_eq!((&rows[0]["symbol"], &rows[239]["symbol"]), (&Value::from("FB"), &Value::from("GOOG")));
    let last = server.run(&place, ["search", "p.toml", "--symbol", "GOOG", "--sort", "-ts", "--limit", "2", "--json"]);
    let last = last.ok().json();
    assert_eq!((last.as_array().unwrap().len(), &last[0]), (2, &rows[239]));
    let day = rows[5]["date"].as_str().unwrap();
    let args = ["search", "p.toml", "close:>0", "--from", day, "--to", day, "--interval", "1d", "--format", "csv"];
    let said = server.run(&place, args).ok();
    assert!(said.stdout.lines().count() >= 2 && said.stdout.starts_with("symbol,interval,ts,date,open"), "{said:?}");
    server.run(&place, ["search", "p.toml", "--limit", "1"]).ok().prints("FB");
    let letters =
        server.run(&place, ["search", "p.toml", "--sink", "dead_letters", "connector:*", "--json"]).ok().json();
    // One of each reading.
    assert_eq!(letters.as_array().unwrap().len(), 2, "{letters}");
    assert!(letters[0]["payload"].as_str().unwrap().contains("x,y,z"), "{letters}");
    server.run(&place, ["search", "p.toml", "-o", "found.parquet"]).ok();
    let said = place.run(["sql", "SELECT count(*) AS n FROM f", "-f", "f=found.parquet", "--json"]).ok();
    assert_eq!(said.json()[0]["n"], 240);

    server.run(&place, ["search", "p.toml", "close:[1 TO"]).code(2).says("HTTP 400");
    server.run(&place, ["search", "p.toml", "--sort", "clos"]).code(2).says("no field `clos`");
    server.run(&place, ["search", "p.toml", "--sink", "quality"]).code(2).says("`bars`, `dead_letters`");
    server
        .run(&place, ["search", "p.toml", "--from", "2024-01-02", "--to", "2024-01-01"])
        .code(2)
        .says("exchange the two");
}

#[test]
fn a_server_that_lets_nobody_in_is_told_and_its_password_is_not() {
    let Some(server) = Server::new("wrong password").filter(|server| server.login.is_some()) else { return };
    let place = Place::with_few_bars();
    server.pipeline(&place);
    place.write("secret.txt", "hunter2-is-wrong");
    for args in [["run", "p.toml"], ["search", "p.toml"]] {
        let said = server.run(&place, args).code(1).says("HTTP 401").says("check `user` and `password`");
        assert!(!said.stderr.contains("hunter2"), "{said:?}");
    }
    server.run(&place, ["doctor", "p.toml"]).code(1).prints("HTTP 401");
    std::fs::remove_file(place.path("secret.txt")).unwrap();
    server.run(&place, ["run", "p.toml"]).code(1).says("a secret cannot be had");
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    let place = Place::empty();
    place.write("in.csv", "Date,Close\n");
    place.write(
        "p.toml",
        "name = 'x'\n[source]\ntype = 'file'\npath = 'in.csv'\n\
         [[sink]]\nname = 'a'\ntype = 'elasticsearch'\nurl = 'https://me:hunter2@h'\nindex = 'Bars'\npassword = 'hunter2'\nclient_key = 'k'\n\
         [[sink]]\nname = 'b'\ntype = 'elasticsearch'\nurl = 'http://h:9200'\nindex = 'Bars'\nrefresh = 'soon'\nrequests = 0\n\
         [[sink]]\nname = 'c'\ntype = 'elasticsearch'\nurl = 'http://h:9200'\nindex = 'bars'\nuser = 'me'\napi_key = 'env:KEY'\nmeta_index = '_x'\n",
    );
    let said = place.run(["validate", "p.toml"]).code(2);
    for wanted in [
        "`sink[0].url` is wrong: elasticsearch: the URL holds a login",
        "`sink[0].password` must say where the secret is kept",
        "`sink[0].user` and `password` belong together",
        "`sink[0].client_key` and `client_cert` belong together",
        "`sink[1].index` is wrong",
        "`sink[1].refresh` cannot be `soon`",
        "`sink[1].requests`",
        "`sink[2].user` and `password` belong together",
        "`sink[2].api_key` stands beside `user`",
        "`sink[2].meta_index` is wrong",
    ] {
        assert!(said.stderr.contains(wanted), "`{wanted}` is not in:\n{}", said.stderr);
    }
    assert!(!said.stderr.contains("hunter2"));
    place.write(
        "q.toml",
        "name = 'x'\n[source]\ntype = 'file'\npath = 'in.csv'\n[[sink]]\nname = 'a'\ntype = 'console'\n",
    );
    place.run(["search", "q.toml"]).code(2).says("writes to no index");
}
