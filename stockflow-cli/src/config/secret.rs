//! Secrets are named in a pipeline file, never written into it, and never printed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`; a line break at its end does not count.
    File(PathBuf),
}

impl FromStr for SecretRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            // The text itself may be the secret, so it is not repeated.
            _ => Err("must say where the secret is kept, `env:NAME` or `file:PATH`; the secret itself does not belong into a pipeline file".into()),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
        }
    }
}

impl SecretRef {
    /// Fetches it.
    ///
    /// # Errors
    ///
    /// A sentence, if the variable is not set or the file cannot be read.
    pub(crate) fn resolve(&self) -> Result<Secret, String> {
        match self {
            Self::Env(name) => {
                std::env::var(name).map(Secret).map_err(|_| format!("environment variable `{name}` is not set"))
            }
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(format!("file `{}` cannot be read: {error}", path.display())),
            },
        }
    }
}

/// A password or a key. Prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for the client library that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
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
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.reveal(), "hunter2");
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
}
