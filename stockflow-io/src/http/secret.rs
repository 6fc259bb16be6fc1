//! Which parts of a URL are secrets, and how they are kept out of everything that is written down.

use url::Url;
use url::form_urlencoded;

/// What stands in place of a secret.
pub(crate) const REDACTED: &str = "REDACTED";

/// Query parameters whose values are secrets, in lower case.
const SECRET_PARAMETERS: [&str; 8] =
    ["crumb", "apikey", "api_key", "token", "access_token", "gcrumb", "csrftoken", "sessionid"];

/// A shorter value is not looked for in texts: it would be found in innocent words.
const SHORTEST: usize = 5;

/// Whether the value of this query parameter is a secret.
pub(crate) fn is_secret(parameter: &str) -> bool {
    SECRET_PARAMETERS.iter().any(|secret| secret.eq_ignore_ascii_case(parameter))
}

/// The URL with `REDACTED` for every secret; everything else as it was.
pub(crate) fn masked(url: &Url) -> Url {
    let mut masked = url.clone();
    // Fails for URLs that have no place for it, and then there is nothing to hide.
    let _ = masked.set_password(None);
    if !url.username().is_empty() {
        let _ = masked.set_username(REDACTED);
    }
    if let Some(query) = url.query() {
        let parts: Vec<String> = query.split('&').map(masked_part).collect();
        masked.set_query(Some(&parts.join("&")));
    }
    masked
}

fn masked_part(part: &str) -> String {
    match secret_part(part) {
        Some((name, _)) => format!("{name}={REDACTED}"),
        None => part.to_owned(),
    }
}

/// Name and value as written, if `part` of a query is a secret.
fn secret_part(part: &str) -> Option<(&str, &str)> {
    let (name, value) = part.split_once('=')?;
    let (decoded, _) = form_urlencoded::parse(name.as_bytes()).next()?;
    is_secret(&decoded).then_some((name, value))
}

/// The secrets of a URL, to be struck out of texts that may repeat them.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn of(url: &Url) -> Self {
        let mut values: Vec<String> = Vec::new();
        for (_, written) in url.query().unwrap_or_default().split('&').filter_map(secret_part) {
            let decoded = form_urlencoded::parse(format!("v={written}").as_bytes()).next().map(|(_, v)| v.into_owned());
            values.extend(decoded);
            values.push(written.to_owned());
        }
        values.extend(url.password().map(str::to_owned));
        values.retain(|value| value.len() >= SHORTEST && value != REDACTED);
        // The longest first, in case one is a part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values)
    }

    /// The text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(masked(&Url::parse(url).unwrap()).as_str(), expected);
    }

    #[test]
    fn values_of_secret_parameters_are_masked() {
        check(
            "https://a.test/q?symbols=A,B&crumb=x%2Fy&x=div|split",
            "https://a.test/q?symbols=A,B&crumb=REDACTED&x=div|split",
        );
        check(
            "https://a.test/q?APIKEY=1&token=2&api%5Fkey=3",
            "https://a.test/q?APIKEY=REDACTED&token=REDACTED&api%5Fkey=REDACTED",
        );
        check("https://me:secret@a.test/", "https://REDACTED@a.test/");
        check("https://a.test/?s=aapl.us", "https://a.test/?s=aapl.us");
    }

    #[test]
    fn texts_lose_a_secret_in_both_spellings() {
        let secrets = Secrets::of(&Url::parse("https://a.test/q?apikey=AB%2FCDE").unwrap());
        assert_eq!(secrets.hide("your key AB/CDE, as AB%2FCDE"), "your key REDACTED, as REDACTED");
    }
}
