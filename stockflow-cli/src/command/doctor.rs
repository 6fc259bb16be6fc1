//! `stockflow doctor [PIPELINE.toml | PROVIDER]`

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stockflow_core::pipeline::Pipeline;
use stockflow_core::sink::Fence;
use stockflow_io::location::Location;
use stockflow_io::provider::EXAMINABLE;

use crate::args::{DoctorArgs, Global};
use crate::assemble::{self, Opening};
use crate::config::PipelineConfig;
use crate::environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, Align, Table, stdout};

/// Below this a lake soon runs out of room.
const LITTLE_ROOM_MB: u64 = 1024;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warning,
    Failed,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    health: Health,
    text: String,
}

/// Checks the machine, the folders, the store, the sinks' fences and the secrets. Changes nothing.
pub(crate) async fn run(args: DoctorArgs, global: &Global) -> Outcome {
    let DoctorArgs { pipeline: args, server, api_key_env } = args;
    let named = args.pipeline.as_ref().and_then(|it| it.to_str());
    if let Some(provider) = named.filter(|it| EXAMINABLE.contains(it)) {
        return super::examine::run(provider, server.as_ref(), api_key_env.as_deref(), global).await;
    }
    let config = assemble::config(&args, global)?;
    let mut checks = vec![versions(), room(&global.data_dir)];
    checks.extend(variables(&config));
    let secrets = secrets(&config);
    if secrets.iter().all(|check| check.health == Health::Ok) {
        environment::provide(&config.object_store)?;
    }
    checks.extend(secrets);
    for place in places(&config, global) {
        checks.push(reachable(&place).await);
    }
    checks.extend(services(&config).await);
    match assemble::pipeline(&config, global, Opening::Everything).await {
        Ok(pipeline) => checks.extend(pipeline_checks(&pipeline).await),
        Err(failure) => checks.push(failed("pipeline", failure.causes.join(": "))),
    }
    print(&checks, global)?;
    Ok(if checks.iter().any(|check| check.health == Health::Failed) { Exit::Failed } else { Exit::Done })
}

fn check(name: impl Into<String>, health: Health, text: impl Display) -> Check {
    Check { check: name.into(), health, text: text.to_string() }
}

fn ok(name: impl Into<String>, text: impl Display) -> Check {
    check(name, Health::Ok, text)
}

fn failed(name: impl Into<String>, text: impl Display) -> Check {
    check(name, Health::Failed, text)
}

fn versions() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ok(
        "versions",
        format!(
            "stockflow {}, DataFusion {}, {} {}, {cores} cores",
            env!("CARGO_PKG_VERSION"),
            datafusion::DATAFUSION_VERSION,
            std::env::consts::OS,
            std::env::consts::ARCH
        ),
    )
}

/// Free space where the lake lies, as `df` tells it.
fn room(data_dir: &str) -> Check {
    let Some(local) = Location::parse(data_dir).ok().and_then(|place| place.local_path().map(existing)) else {
        return ok("disk space", format!("`{data_dir}` is not a local folder"));
    };
    let answer = std::process::Command::new("df").arg("-Pk").arg(&local).output();
    let free = answer.ok().and_then(|answer| {
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free.map(|kilobytes| kilobytes / 1024) {
        Some(free) if free < LITTLE_ROOM_MB => {
            check("disk space", Health::Warning, format!("only {free} MB are free at `{}`", local.display()))
        }
        Some(free) => ok("disk space", format!("{free} MB are free at `{}`", local.display())),
        None => check("disk space", Health::Warning, format!("could not be found out for `{}`", local.display())),
    }
}

/// The path itself, or the nearest folder above it that exists.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

fn variables(config: &PipelineConfig) -> Vec<Check> {
    let text = |is_default| if is_default { "not set, the file's default is taken" } else { "set" };
    config
        .variables
        .iter()
        .map(|it| {
            ok(format!("variable {}", it.name), format!("{} (in `{}`)", text(it.is_default), it.paths.join("`, `")))
        })
        .collect()
}

/// Whether secrets can be had; never what they are.
fn secrets(config: &PipelineConfig) -> Vec<Check> {
    let check = |(field, secret): (String, &crate::config::SecretRef)| {
        let name = format!("secret {field}");
        match secret.resolve() {
            Ok(_) => ok(name, format!("can be read from {secret}")),
            Err(reason) => failed(name, reason),
        }
    };
    config.secrets().into_iter().map(check).collect()
}

/// Every service that the pipeline writes to must let us in.
async fn services(config: &PipelineConfig) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut seen = Vec::new();
    for sink in config.sinks.iter().map(|sink| &sink.sink).chain(&config.dead_letters) {
        let Some(path) = sink.path().filter(|_| sink.is_service()) else { continue };
        let name = format!("place {path}");
        if seen.contains(&name) {
            continue;
        }
        checks.push(match sink.probe().await {
            Some(Ok(text)) => ok(&name, text),
            Some(Err(failure)) => failed(&name, failure.causes.join(": ")),
            None => continue,
        });
        seen.push(name);
    }
    checks
}

/// Every folder or URL that the pipeline writes to.
fn places(config: &PipelineConfig, global: &Global) -> Vec<String> {
    let sinks = config.sinks.iter().map(|sink| &sink.sink).chain(&config.dead_letters);
    let sinks = sinks.filter(|sink| !sink.is_service());
    let mut places: Vec<String> = sinks.filter_map(|sink| sink.path().map(str::to_owned)).collect();
    places.extend(assemble::store_path(config, global));
    places.sort();
    places.dedup();
    places
}

/// A local folder must be writable, an object store must answer.
async fn reachable(place: &str) -> Check {
    let name = format!("place {place}");
    let location = match Location::parse(place) {
        Ok(location) => location,
        Err(error) => return failed(name, error.chain().join(": ")),
    };
    if let Some(local) = location.local_path() {
        return writable(name, local);
    }
    match location.store().list_with_delimiter(Some(location.path())).await {
        Ok(_) => ok(name, "the object store answers"),
        Err(error) => failed(name, error),
    }
}

fn writable(name: String, local: &Path) -> Check {
    let folder = existing(local);
    let folder = if folder.is_dir() { folder } else { folder.parent().unwrap_or(Path::new("/")).to_path_buf() };
    let probe = folder.join(format!(".stockflow-doctor-{}", std::process::id()));
    match std::fs::File::create_new(&probe) {
        Ok(_) => {
            let _ = std::fs::remove_file(&probe);
            let text = if folder == local {
                "writable".to_owned()
            } else {
                format!("not there yet; `{}` is writable", folder.display())
            };
            ok(name, text)
        }
        Err(error) => failed(name, format!("`{}` is not writable: {error}", folder.display())),
    }
}

async fn pipeline_checks(pipeline: &Pipeline) -> Vec<Check> {
    let mut checks = Vec::new();
    match pipeline.checkpoint().await {
        Ok(checkpoint) => checks.push(ok("checkpoint store", format!("readable, {} partitions", checkpoint.len()))),
        Err(error) => checks.push(failed("checkpoint store", error.chain().join(": "))),
    }
    match pipeline.status().await {
        Ok(status) => checks.push(ok("source", format!("reachable, {} partitions to read", status.next.len()))),
        Err(error) => checks.push(failed("source", error.chain().join(": "))),
    }
    match pipeline.describe().await {
        Ok(description) => {
            checks.push(ok("pipeline", "source, steps and sinks fit"));
            checks.extend(description.sinks.iter().map(|sink| fence(&sink.name, sink.fence)));
        }
        Err(error) => checks.push(failed("pipeline", error.chain().join(": "))),
    }
    checks
}

fn fence(sink: &str, fence: Fence) -> Check {
    let name = format!("fence {sink}");
    match fence {
        Fence::Atomic => ok(name, "an older runner cannot write: checked in the same step as the commit"),
        Fence::Checked => check(
            name,
            Health::Warning,
            "checked right before the commit: a runner that stalls in between may still write",
        ),
        Fence::None => check(name, Health::Warning, "none: an older runner may still write"),
    }
}

fn print(checks: &[Check], global: &Global) -> Outcome<()> {
    if global.json {
        return render::json(&checks);
    }
    let mut table = Table::new(stdout(), &[("check", Align::Left), ("health", Align::Left), ("", Align::Left)]);
    for check in checks {
        let health = match check.health {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Failed => "FAILED",
        };
        table.row(vec![check.check.clone(), health.into(), check.text.clone()])?;
    }
    table.finish().map(drop).map_err(Failure::from)
}
