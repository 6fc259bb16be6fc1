//! Passwords and keys: named in a pipeline file, never written into it, and never printed.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long a command may take to give a secret.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`; a line break at its end does not count.
    File(PathBuf),
    /// `command:LINE`, run by `sh`; what it prints, without a line break at its end.
    Command(String),
}

impl FromStr for SecretRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", line)) if !line.is_empty() => Ok(Self::Command(line.into())),
            // The text itself may be the secret, so it is not repeated.
            _ => Err("must say where the secret is kept, `env:NAME`, `file:PATH` or `command:LINE`; the secret itself does not belong into a pipeline file".into()),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Command(line) => write!(f, "command `{line}`"),
        }
    }
}

impl SecretRef {
    /// Fetches it.
    ///
    /// # Errors
    ///
    /// A sentence, if the variable is not set, the file cannot be read, or the command fails or takes more than half a minute.
    pub fn resolve(&self) -> Result<Secret, String> {
        match self {
            Self::Env(name) => {
                std::env::var(name).map(Secret::new).map_err(|_| format!("environment variable `{name}` is not set"))
            }
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
                Err(error) => Err(format!("file `{}` cannot be read: {error}", path.display())),
            },
            Self::Command(line) => printed_by(line).map_err(|reason| format!("command `{line}` {reason}")),
        }
    }
}

fn printed_by(line: &str) -> Result<Secret, String> {
    let failed = |error: std::io::Error| format!("cannot be run: {error}");
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    // Read beside the waiting: what prints more than a pipe holds would never end.
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut text)).map(|_| text)
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if start.elapsed() >= COMMAND_DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("gave nothing within {} s", COMMAND_DEADLINE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        return Err(format!("failed: {status}"));
    }
    match reader.join() {
        Ok(Ok(text)) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
        _ => Err("printed something that is not text".into()),
    }
}

/// A password or a key. Prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the client library that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A foreign text, such as an error's, with stars where it repeats the secret.
    pub fn hide(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(secret.hide("no hunter2 here"), "no *** here");
    }

    #[test]
    fn a_secret_in_the_file_is_refused_without_repeating_it() {
        let error = "hunter2".parse::<SecretRef>().unwrap_err();
        assert!(error.contains("env:NAME") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_is_read_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "abc\n").unwrap();
        let secret = SecretRef::File(path.clone()).resolve().unwrap();
        assert_eq!(secret.reveal(), "abc");
        assert!(SecretRef::File(folder.path().join("none")).resolve().unwrap_err().contains("cannot be read"));
        assert_eq!(SecretRef::from_str(&format!("file:{}", path.display())).unwrap(), SecretRef::File(path));
    }

    #[test]
    fn a_command_gives_what_it_prints_or_says_that_it_failed() {
        let secret = SecretRef::from_str("command:printf 'a b\\n'").unwrap().resolve().unwrap();
        assert_eq!(secret.reveal(), "a b");
        let error = SecretRef::Command("exit 3".into()).resolve().unwrap_err();
        assert!(error.contains("`exit 3` failed") && error.contains('3'), "{error}");
    }
}
