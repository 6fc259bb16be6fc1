//! Recorded replies in the place of the network.
//!
//! A folder is read with all folders below it; files that are no recordings (no `request` and `response`) are left out.
//! A recording answers a request by the first of these rules:
//!
//! 1. The *same* request: host, path and parameters. Secret parameters, the order of parameters, which of Yahoo's
//!    `query1` and `query2` was asked, and its parameters that shape only the presentation (`lang`, `region`, `formatted`,
//!    `useYfid` and the like; `includePrePost` of daily and wider bars) do not matter.
//! 2. The same but for the window (`period1` and `period2`, Stooq's `d1` and `d2`): the *narrowest recording that covers*
//!    the asked one. The reply then holds more than was asked.
//! 3. The asked window begins within the *latest* recorded one of that request and ends after it, as it does when the end
//!    is "now" and time has passed. The reply then ends where it was recorded.
//!
//! Of Yahoo's charts a recording with other corporate actions (`events`) answers only where none with the same does: it may
//! lack splits. Its note says so.
//!
//! By rules 2 and 3 the reply's [`note`](Reply::note) says what was done.
//! If two files record the same request, the first by path counts.
//! A recorded reply that the live client would not have handed on (429, 5xx, HTML for JSON) is the error it would be after
//! the last attempt.

mod key;

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::client::attempt::Outcome;
use super::error::FetchError;
use super::record::{Envelope, Head};
use super::request::{Fetch, Reply, Request};
use key::Key;

/// Answers from a folder of recordings, never from the network.
#[derive(Debug)]
pub struct Replayer {
    folder: PathBuf,
    recordings: Vec<Recording>,
}

#[derive(Debug)]
struct Recording {
    path: PathBuf,
    key: Key,
}

impl Replayer {
    /// Finds out what is recorded in `folder`. Bodies are read when asked for.
    ///
    /// # Errors
    ///
    /// [`FetchError::Recording`] if the folder or a file cannot be read, or is no JSON.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let folder = folder.into();
        let mut recordings = Vec::new();
        for path in json_files(&folder)? {
            match recording(&path)? {
                Some(recording) => recordings.push(recording),
                None => tracing::debug!(path = %path.display(), "left out, has no `request` and `response`"),
            }
        }
        Ok(Self { folder, recordings })
    }

    /// The recording that answers, and what is to be said about that.
    fn find(&self, asked: &Key) -> Option<(&Recording, Option<String>)> {
        let (fitting, others): (Vec<_>, Vec<_>) =
            self.recordings.iter().partition(|it| it.key.tells_the_same_events(asked));
        find_among(&fitting, asked).or_else(|| {
            let (found, note) = find_among(&others, asked)?;
            let said = format!("recorded with {}, asked for {}", found.key.events(), asked.events());
            Some((found, Some(note.into_iter().fold(said, |said, note| format!("{said}; {note}")))))
        })
    }

    fn nearest(&self, asked: &Key) -> String {
        let nearest = self.recordings.iter().min_by_key(|recording| recording.key.differences(asked).0);
        match nearest {
            None => "there are none at all, record some first".into(),
            Some(nearest) => {
                let (_, mut differences) = nearest.key.differences(asked);
                differences.truncate(4);
                let name = nearest.path.strip_prefix(&self.folder).unwrap_or(&nearest.path);
                format!("the nearest is `{}`, where {}", name.display(), differences.join(", "))
            }
        }
    }
}

fn find_among<'a>(recordings: &[&'a Recording], asked: &Key) -> Option<(&'a Recording, Option<String>)> {
    let recordings = recordings.iter().copied();
    if let Some(same) = recordings.clone().find(|recording| recording.key.is_same(asked)) {
        return Some((same, None));
    }
    let window = asked.window()?;
    let series = || {
        let same = recordings.clone().filter(|recording| recording.key.is_same_but_for_window(asked));
        same.filter_map(|recording| Some((recording, recording.key.window()?)))
    };
    let covering = series().filter(|(_, recorded)| recorded.covers(&window)).min_by_key(|(_, it)| it.width());
    if let Some((recording, recorded)) = covering {
        return Some((recording, Some(format!("recorded for {recorded}, asked for {window}"))));
    }
    let (recording, recorded) = series().max_by_key(|(_, recorded)| recorded.end)?;
    recorded
        .is_continued_by(&window)
        .then(|| (recording, Some(format!("recorded for {recorded}, asked for {window}: the end is missing"))))
}

#[async_trait]
impl Fetch for Replayer {
    async fn get(&self, request: &Request) -> Result<Reply, FetchError> {
        let asked = Key::of("GET", request.url());
        let Some((recording, note)) = self.find(&asked) else {
            let (place, folder, nearest) = (request.place(), self.folder.clone(), self.nearest(&asked));
            return Err(FetchError::NoRecording { place, folder, nearest });
        };
        if let Some(note) = &note {
            let (place, file) = (request.place(), recording.path.display());
            tracing::info!(%place, %file, note, "replaying a recording of another request");
        }
        let text = tokio::fs::read(&recording.path).await.map_err(|error| unreadable(&recording.path, error))?;
        let envelope: Envelope = parsed(&recording.path, &text)?;
        let reply = envelope.response.reply(envelope.request.url, &text);
        let mut reply = reply.map_err(|reason| FetchError::Recording { path: recording.path.clone(), reason })?;
        reply.note = note;
        Outcome::of(request, reply).after_the_last_attempt(request)
    }
}

/// All files whose names end in `.json`, by path.
fn json_files(folder: &Path) -> Result<Vec<PathBuf>, FetchError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
            let path = entry.map_err(|error| unreadable(&folder, error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn recording(path: &Path) -> Result<Option<Recording>, FetchError> {
    let text = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    // A bare list is a body, not a broken recording.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    let head: Head = parsed(path, &text)?;
    Ok(head.request.zip(head.response).map(|(request, _)| {
        let key = Key::of(&request.method, &request.url);
        Recording { path: path.to_owned(), key }
    }))
}

fn parsed<'a, T: serde::Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T, FetchError> {
    serde_json::from_slice(text).map_err(|error| {
        let reason = format!("is no recording ({error}); mend it or take it out of the folder");
        FetchError::Recording { path: path.to_owned(), reason }
    })
}

fn unreadable(path: &Path, error: std::io::Error) -> FetchError {
    FetchError::Recording {
        path: path.to_owned(),
        reason: format!("cannot be read ({error}); see to its path and rights"),
    }
}
