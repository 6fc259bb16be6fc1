//! Every function there is, by name, generated from TA-Lib's registry when it is first asked for.

use std::collections::HashMap;
use std::sync::LazyLock;

use ta_lib::abstract_api::FUNCS;

use super::definition::Definition;
use super::error::IndicatorError;
use super::talib;

/// Functions of the registry that are left out, each with the reason.
///
/// There are none: what SQL has under the same name is there as `ta_<name>`.
/// A test holds definitions + exclusions against the number in the registry.
pub const EXCLUDED: &[(&str, &str)] = &[];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::generate);

/// The catalogue of this build.
pub fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

/// Every function there is, in alphabetical order.
#[derive(Debug)]
pub struct Catalogue {
    definitions: Vec<Definition>,
    by_name: HashMap<String, usize>,
}

impl Catalogue {
    fn generate() -> Self {
        let included = FUNCS.iter().filter(|it| EXCLUDED.iter().all(|(name, _)| !it.name.eq_ignore_ascii_case(name)));
        let mut definitions: Vec<_> = included.map(talib::definition).collect();
        definitions.sort_by(|a, b| a.name.cmp(&b.name));
        let mut by_name = HashMap::new();
        for (index, definition) in definitions.iter().enumerate() {
            let names = [&definition.name, &definition.sql_name].into_iter().chain(&definition.aliases);
            names.for_each(|name| {
                by_name.insert(name.clone(), index);
            });
        }
        Self { definitions, by_name }
    }

    /// All definitions, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Definition> {
        self.definitions.iter()
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.definitions.len()
    }

    /// Whether there is none, which no build has.
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    /// The function of this name or alias, in any case.
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Unknown`] with the nearest known name.
    pub fn get(&self, name: &str) -> Result<&Definition, IndicatorError> {
        self.by_name
            .get(&name.to_ascii_lowercase())
            .and_then(|it| self.definitions.get(*it))
            .ok_or_else(|| IndicatorError::Unknown { name: name.to_string(), nearest: self.nearest(name) })
    }

    /// The known name that is nearest to this one, if any is near.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let scored = self.by_name.keys().map(|known| (strsim::jaro_winkler(&name, known), known));
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
        best.filter(|(score, _)| *score >= 0.8).map(|(_, known)| known.clone())
    }

    /// The groups, in alphabetical order.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<_> = self.definitions.iter().map(|it| it.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a Definition;
    type IntoIter = std::slice::Iter<'a, Definition>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
