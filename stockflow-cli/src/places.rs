//! Where a pipeline reads and writes: no output is an input, and no two outputs share a place.
//!
//! Places are compared as absolute paths or URLs: links are followed as far as they exist, relative paths count from the
//! current folder. Nothing is opened and no folder is listed.

use std::path::{Component, Path};

use stockflow_io::location::Location;

use crate::args::Global;
use crate::assemble;
use crate::config::PipelineConfig;
use crate::exit::{Failure, Outcome};

/// Refuses a pipeline that would read its own output, or write two things to one place.
///
/// `built_in`: the main job, whose fields are options of the command line.
pub(crate) fn check(config: &PipelineConfig, global: &Global, built_in: bool) -> Outcome<()> {
    let outputs = outputs(config, global);
    let read: Vec<String> = match config.source.place().map(Reach::parse) {
        Some(Some(source)) => outputs.iter().filter_map(|output| source.clash(output)).collect(),
        // It is told where the source is opened.
        Some(None) => return Ok(()),
        None => Vec::new(),
    };
    if built_in && !read.is_empty() {
        let (data_dir, input) = (&global.data_dir, config.source.path());
        return Err(Failure::usage(format!(
            "the data folder `{data_dir}` lies within what `--input` (`{input}`) reads: a run would read its own tables"
        ))
        .or_next("name the folder or a glob of the bars, such as `--input 'prices/*.csv'`, or another folder with `--data-dir`"));
    }
    let shared = shared(&outputs);
    let next = if read.is_empty() {
        "give each output a folder of its own"
    } else {
        "write to another folder, or name the files of the bars in `source.path`, such as `prices/*.csv`"
    };
    let problems = [read, shared].concat();
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::usage(one).or_next(next)),
        many => Err(Failure {
            details: many.to_vec(),
            ..Failure::usage(format!("the places of pipeline `{}` have {} problems", config.name, many.len()))
                .or_next(next)
        }),
    }
}

/// A place in its one form: the disk or bucket, and the names that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    root: String,
    names: Vec<String>,
}

impl Place {
    /// `None` for what is no place; it is refused where it is opened.
    fn parse(text: &str) -> Option<Self> {
        if let Some(place) = Self::bucket(text) {
            return Some(place);
        }
        Location::parse(text).ok()?.local_path().map(Self::local)
    }

    /// A bucket, or a server.
    fn bucket(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "s3" | "s3a" => "s3",
            "kafka" => "kafka",
            "postgres" => "postgres",
            _ => return None,
        };
        let mut names = rest.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
        let bucket = names.next()?;
        Some(Self { root: format!("{scheme}://{bucket}"), names: names.collect() })
    }

    /// With links followed as far as there is something.
    fn local(path: &Path) -> Self {
        let real = path.ancestors().find_map(|there| {
            let real = std::fs::canonicalize(there).ok()?;
            Some(path.strip_prefix(there).map_or_else(|_| real.clone(), |rest| real.join(rest)))
        });
        let mut place = Self { root: String::new(), names: Vec::new() };
        for component in real.as_deref().unwrap_or(path).components() {
            let name = component.as_os_str().to_string_lossy().into_owned();
            match component {
                Component::Prefix(_) => place.root = name,
                Component::Normal(_) => place.names.push(name),
                Component::RootDir | Component::CurDir | Component::ParentDir => {}
            }
        }
        place
    }

    /// The names that lead from `above` to here; `None` if this place is not there or below.
    fn below(&self, above: &Self) -> Option<&[String]> {
        self.names.strip_prefix(above.names.as_slice()).filter(|_| self.root == above.root)
    }
}

/// Something that is written.
#[derive(Debug)]
struct Output {
    /// The field that names it, for messages.
    field: String,
    place: Place,
    /// Whether everything below belongs to it, too.
    is_folder: bool,
    /// Whether it is a table: what else lies in its folder may be taken for a part of it.
    is_table: bool,
}

/// All that the pipeline writes.
fn outputs(config: &PipelineConfig, global: &Global) -> Vec<Output> {
    let sinks = config.sinks.iter().enumerate().map(|(idx, sink)| (format!("sink[{idx}].path"), &sink.sink));
    let letters = config.dead_letters.iter().map(|sink| ("dead_letters.path".to_owned(), sink));
    let mut outputs = Vec::new();
    for (field, sink) in sinks.chain(letters) {
        let Some(path) = sink.path() else { continue };
        let mut add = |field: String, path: &str| {
            let is_folder = sink.is_folder();
            outputs.extend(Place::parse(path).map(|place| Output { field, place, is_folder, is_table: is_folder }));
        };
        add(format!("`{field}` (`{path}`)"), path);
        if let Some(revisions) = sink.revisions() {
            add(format!("the revisions (`{revisions}`) of `{field}`"), &revisions);
        }
    }
    if let Some(path) = assemble::store_path(config, global) {
        let by_default = if config.store.is_none() { "by default " } else { "" };
        let field = format!("`store` ({by_default}`{path}`)");
        outputs.extend(Place::parse(&path).map(|place| Output { field, place, is_folder: true, is_table: false }));
    }
    outputs
}

/// Outputs that share a place, or of which one lies in the other's folder.
fn shared(outputs: &[Output]) -> Vec<String> {
    let mut found = Vec::new();
    for (idx, output) in outputs.iter().enumerate() {
        for earlier in outputs.iter().take(idx) {
            let within = |inner: &Output, outer: &Output| outer.is_folder && inner.place.below(&outer.place).is_some();
            if output.place == earlier.place {
                found.push(format!("{} is the place of {}, too", output.field, earlier.field));
            } else if within(output, earlier) {
                found.push(format!("{} lies within {}", output.field, earlier.field));
            } else if within(earlier, output) {
                found.push(format!("{} lies within {}", earlier.field, output.field));
            }
        }
    }
    found
}

/// What a source reads: a file or folder, or what matches below one.
#[derive(Debug)]
struct Reach {
    text: String,
    base: Place,
    /// One pattern a level below the base; empty if it reads all of it.
    wild: Vec<String>,
}

impl Reach {
    fn parse(text: &str) -> Option<Self> {
        let (base, wild) = match Place::bucket(text) {
            Some(mut place) => {
                let literal = place.names.iter().position(|name| is_pattern(name)).unwrap_or(place.names.len());
                let wild = place.names.split_off(literal);
                (place, wild)
            }
            None => {
                let location = Location::parse(text).ok()?;
                let path = location.local_path()?;
                // A folder may really be called `a[1]`.
                let base = path.ancestors().find(|above| {
                    let names = || above.components().any(|name| is_pattern(&name.as_os_str().to_string_lossy()));
                    above.symlink_metadata().is_ok() || !names()
                })?;
                let below = path.strip_prefix(base).ok()?;
                let wild = below.components().map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
                (Place::local(base), wild)
            }
        };
        Some(Self { text: text.into(), base, wild })
    }

    /// What is wrong if this output would be read, or what is read lies in its table's folder.
    fn clash(&self, output: &Output) -> Option<String> {
        let text = &self.text;
        if self.reads(output) {
            return Some(format!(
                "{} lies within what `source.path` (`{text}`) reads: a run would overwrite its input, or read its own output",
                output.field
            ));
        }
        let inside = output.is_table && self.base.below(&output.place).is_some();
        inside.then(|| format!("`source.path` (`{text}`) lies within the table {}", output.field))
    }

    fn reads(&self, output: &Output) -> bool {
        let Some(below) = output.place.below(&self.base) else { return false };
        // The source skips such names.
        if below.iter().any(|name| name.starts_with(['.', '_'])) {
            return false;
        }
        match (self.wild.is_empty(), output.is_folder) {
            (true, _) => true,
            (false, true) => enters(&self.wild, below),
            (false, false) => matches(&self.wild, below),
        }
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether files within a folder below the base may match.
fn enters(wild: &[String], folder: &[String]) -> bool {
    let levels: Vec<&String> = wild.iter().take_while(|name| *name != "**").collect();
    let fits = folder.iter().zip(&levels).all(|(name, level)| may_match(level, name));
    fits && (levels.len() < wild.len() || folder.len() < levels.len())
}

/// Whether a file below the base may match.
fn matches(wild: &[String], file: &[String]) -> bool {
    match wild.split_first() {
        None => file.is_empty(),
        Some((level, rest)) if level == "**" => {
            (0..=file.len()).any(|skip| matches(rest, file.get(skip..).unwrap_or_default()))
        }
        Some((level, rest)) => {
            file.split_first().is_some_and(|(name, below)| may_match(level, name) && matches(rest, below))
        }
    }
}

/// Whether a name may match a pattern: `[…]` is taken for any character.
fn may_match(pattern: &str, name: &str) -> bool {
    let mut letters = pattern.chars();
    let next = || {
        let mut letters = name.chars();
        letters.next().map(|letter| (letter, letters.as_str()))
    };
    match letters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = letters.as_str();
            may_match(rest, name) || next().is_some_and(|(_, below)| may_match(pattern, below))
        }
        Some('[') => {
            // A `]` right after the bracket, or after `[!`, stands for itself.
            let set = letters.as_str().trim_start_matches('!');
            let end = set.char_indices().skip(1).find(|(_, letter)| *letter == ']').map_or(set.len(), |(at, _)| at + 1);
            next().is_some_and(|(_, below)| may_match(set.get(end..).unwrap_or_default(), below))
        }
        Some('?') => next().is_some_and(|(_, below)| may_match(letters.as_str(), below)),
        Some(letter) => next().is_some_and(|(own, below)| own == letter && may_match(letters.as_str(), below)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn output(path: &str, is_folder: bool) -> Output {
        let place = Place::parse(path).unwrap();
        Output { field: format!("`{path}`"), place, is_folder, is_table: is_folder }
    }

    #[track_caller]
    fn check(source: &str, path: &str, is_folder: bool, expected: bool) {
        let clash = Reach::parse(source).unwrap().clash(&output(path, is_folder));
        assert_eq!(clash.is_some(), expected, "{source} and {path}: {clash:?}");
    }

    #[test]
    fn a_file_clashes_if_the_source_reads_it() {
        for source in
            ["in", "in/", "./in", "in/FB.csv", "in/*.csv", "in/F?.csv", "in/[E-G]B.csv", "**/*.csv", "x/../in"]
        {
            check(source, "in/FB.csv", false, true);
        }
        for source in ["in/*.parquet", "in/G*.csv", "in/*/*.csv", "out", "in/FB.csv.gz", "inn"] {
            check(source, "in/FB.csv", false, false);
        }
        check("in", "in/_out/FB.csv", false, false);
        check("s3://b/in/*.csv", "s3a://b/in/FB.csv", false, true);
        check("s3://b/in/*.csv", "s3://c/in/FB.csv", false, false);
    }

    #[test]
    fn a_folder_clashes_if_the_source_enters_it_or_lies_within() {
        for source in
            [".", "lake", "lake/bars", "lake/bars/*.parquet", "lake/bars/x=1/*.parquet", "*/*/*.csv", "**/*.csv"]
        {
            check(source, "lake/bars", true, true);
        }
        for source in ["*.csv", "*/*.csv", "lake/*.csv", "lake/in/*.csv", "lake/bars_in"] {
            check(source, "lake/bars", true, false);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("in")).unwrap();
        std::os::unix::fs::symlink(path("in"), path("link")).unwrap();
        check(&path("in/*.csv"), &path("link/new.csv"), false, true);
        check(&path("link"), &path("in/new"), true, true);
        std::fs::create_dir(path("a[1]")).unwrap();
        check(&path("a[1]/*.csv"), &path("a[1]/x.csv"), false, true);
        check(&path("a[1]/*.csv"), &path("a1/x.csv"), false, false);
    }

    #[test]
    fn two_outputs_need_two_places() {
        let outputs = [output("a", true), output("./a/", true), output("a/b", true), output("b.csv", false)];
        let found = shared(&outputs);
        assert_eq!(
            found,
            ["`./a/` is the place of `a`, too", "`a/b` lies within `a`", "`a/b` lies within `./a/`"],
            "{found:?}"
        );
    }
}
