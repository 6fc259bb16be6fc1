//! A path with wildcards: the folder that it begins in, and what below it matches.

use glob::{MatchOptions, Pattern};
use stockflow_core::Result;

use crate::location::{Location, refuse};

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Which files below a folder are meant.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    pub(super) base: Location,
    whole: Pattern,
    /// One a folder level, up to the first `**`.
    levels: Vec<Pattern>,
    any_depth: bool,
}

impl Glob {
    /// The pattern that a place means; `None` if its path has no wildcard, or is really there as it is written.
    pub(super) async fn of(place: &Location) -> Result<Option<Self>> {
        let names: Vec<String> = place.path().parts().map(|part| part.as_ref().to_owned()).collect();
        let mut literal = 0;
        let mut base = None;
        for (idx, name) in names.iter().enumerate() {
            let here = above(place, names.len() - idx - 1);
            // A folder may really be called `g[x]b`.
            if is_pattern(name) && !here.is_there().await? {
                break;
            }
            literal = idx + 1;
            base = Some(here);
        }
        let wild = names.get(literal..).unwrap_or_default();
        if wild.is_empty() {
            return Ok(None);
        }
        let pattern = |text: &str| {
            Pattern::new(text)
                .map_err(|error| refuse(place.text(), format!("`{}` is no pattern: {error}", place.text())))
        };
        let levels = wild.iter().take_while(|name| *name != "**").map(|name| pattern(name));
        let levels = levels.collect::<Result<Vec<_>>>()?;
        Ok(Some(Self {
            base: base.unwrap_or_else(|| above(place, names.len())),
            whole: pattern(&wild.join("/"))?,
            any_depth: levels.len() < wild.len(),
            levels,
        }))
    }

    /// Whether a file below the base is meant.
    pub(super) fn matches(&self, file: &str) -> bool {
        self.whole.matches_with(file, OPTIONS)
    }

    /// Whether files within a folder below the base may be meant.
    pub(super) fn enters(&self, folder: &[String]) -> bool {
        let fits = folder.iter().zip(&self.levels).all(|(name, level)| level.matches_with(name, OPTIONS));
        fits && (self.any_depth || folder.len() < self.levels.len())
    }

    /// Whether all that matches stands in the base itself.
    pub(super) fn is_flat(&self) -> bool {
        !self.any_depth && self.levels.len() == 1
    }
}

/// Whether a path has a wildcard.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The place so many levels up.
fn above(place: &Location, levels: usize) -> Location {
    let mut found = place.clone();
    for _ in 0..levels {
        match found.parent() {
            Some(parent) => found = parent,
            None => break,
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn glob(path: &str) -> Glob {
        Glob::of(&Location::parse(&format!("/no such folder/{path}")).unwrap()).await.unwrap().unwrap()
    }

    fn folder(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn only_folders_that_can_match_are_entered() {
        let flat = glob("*.csv").await;
        assert!(flat.is_flat() && flat.enters(&[]) && !flat.enters(&folder("sub")));
        let two = glob("20*/x/*.csv").await;
        assert!(two.enters(&folder("2024")) && two.enters(&folder("2024/x")));
        assert!(!two.enters(&folder("1999")) && !two.enters(&folder("2024/y")) && !two.enters(&folder("2024/x/z")));
        let deep = glob("a*/**/*.csv").await;
        assert!(deep.enters(&folder("a/b/c")) && !deep.enters(&folder("b/c")));
        assert!(deep.matches("a/b/c/d.csv") && !deep.matches("a/b/c/.d.csv"));
    }

    #[tokio::test]
    async fn what_is_no_pattern_is_refused() {
        let place = Location::parse("/no such folder/a**.csv").unwrap();
        assert!(Glob::of(&place).await.unwrap_err().to_string().contains("is no pattern"));
        assert!(Glob::of(&Location::parse("/no such folder/a.csv").unwrap()).await.unwrap().is_none());
    }
}
