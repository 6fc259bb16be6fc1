//! The server is killed while the runner goes on: it is started again, or two others of three brokers do its work.

use super::cell::{SinkKind, SourceKind};
use super::child;
use super::fault::{At, Effect};
use super::feed::half;
use super::run::World;
use super::servers::{Server, Servers, Started};
use super::table::{Line, check, print};

/// A source, a sink, the server of one of them and the place where it is killed.
type Outage = (SourceKind, SinkKind, Server, At);

/// A source's server is killed before it is read.
fn of_sources() -> Vec<Outage> {
    let sinks =
        [SinkKind::DeltaAppend, SinkKind::Kafka, SinkKind::PostgresAppend, SinkKind::PostgresMerge, SinkKind::Elastic];
    let before = || At::Point("after-intent".into());
    sinks.map(|sink| (SourceKind::Kafka, sink, Server::Kafka, before())).into()
}

/// A sink's server is killed in the middle of its write.
fn of_sinks(sinks: &[SinkKind]) -> Vec<Outage> {
    let mut outages = Vec::new();
    for sink in sinks {
        let written = if sink.has_transactions() { At::Written } else { At::PartWritten };
        for source in SourceKind::ALL {
            let places = [At::Rows(half()), written.clone()];
            outages.extend(
                sink.server().into_iter().flat_map(|server| places.clone().map(|at| (source, *sink, server, at))),
            );
        }
    }
    outages
}

/// The cells with servers of the test's own, which it kills; those that are not killed are the environment's.
async fn outages(name: &str, own: &[Server], cells: Vec<Outage>) {
    // Only where the environment has servers, so that nothing is installed by a test.
    let there = Servers::of_environment();
    let cells: Vec<_> =
        cells.into_iter().filter(|(source, sink, ..)| there.have("server killed", *source, *sink)).collect();
    if cells.is_empty() {
        return;
    }
    let started = tokio::task::block_in_place(|| Started::new(own));
    let servers = started.servers().or(&there);
    let mut lines = Vec::new();
    for (source, sink, server, at) in cells {
        let mut world = World::new(source, sink, &servers).await;
        lines.push(killed(&mut world, &started, server, at).await);
    }
    print(name, &lines);
    check(&lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_waited_for() {
    let mut cells = of_sources();
    cells.extend(of_sinks(&[SinkKind::Kafka, SinkKind::PostgresAppend, SinkKind::PostgresMerge]));
    outages("servers", &[Server::Kafka, Server::Postgres], cells).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elasticsearch_that_is_killed_is_waited_for() {
    outages("elasticsearch-killed", &[Server::Elasticsearch], of_sinks(&[SinkKind::Elastic])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_brokers_go_on() {
    let broker = Server::BrokerOfThree;
    let from_file = [At::Rows(half()), At::Written].map(|at| (SourceKind::File, SinkKind::Kafka, broker, at));
    let mut cells = vec![(SourceKind::Kafka, SinkKind::Kafka, broker, At::Point("after-intent".into()))];
    cells.extend(from_file);
    outages("three-brokers", &[broker], cells).await;
}

async fn killed(world: &mut World, started: &Started, server: Server, at: At) -> Line {
    let others_go_on = server == Server::BrokerOfThree;
    let what = if others_go_on { "1 of 3 brokers" } else { server.name() };
    let mut line = Line::new(&world.cell, format!("{what} killed {at}"));
    world.begin().await;
    world.send();
    let before = started.own.process(server);
    let folder = started.folder().to_path_buf();
    let effect = if others_go_on { Effect::Kill(folder, server) } else { Effect::Restart(folder, server) };
    let ended = child::run(&world.cell, &at, effect, None).await;
    // It is still down, or the child may be done before the server's script is.
    tokio::task::block_in_place(|| started.own.call("up", server));
    line.fired = ended.struck == Some(at.to_string()) && started.own.process(server) != before;
    if !ended.has_finished() {
        line.remarks.push(ended.story());
    }
    world.judge_now(&mut line).await;
    world.finish(&mut line).await;
    line
}
