//! The form of consent that Yahoo shows in Europe.

use url::Url;

/// What is posted to agree, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) action: Url,
    pub(super) fields: Vec<(String, String)>,
}

/// The form in a page that was found at `url`; nothing if the page asks for no consent.
///
/// No HTML parser: the page is looked through for tags, and only `csrfToken` must be there.
pub(super) fn form_of(url: &Url, page: &str) -> Option<Form> {
    let mut fields: Vec<(String, String)> = tags(page, "input")
        .filter(|tag| attribute(tag, "type").is_none_or(|kind| kind.eq_ignore_ascii_case("hidden")))
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())))
        .collect();
    let has = |fields: &[(String, String)], name: &str| fields.iter().any(|(other, _)| other == name);
    if !has(&fields, "csrfToken") {
        return None;
    }
    if !has(&fields, "sessionId") {
        let session = url.query_pairs().find(|(name, _)| name == "sessionId")?;
        fields.push(("sessionId".into(), session.1.into_owned()));
    }
    fields.push(("agree".into(), "agree".into()));
    let action = tags(page, "form").find_map(|tag| attribute(tag, "action")).unwrap_or_default();
    // A form without an action goes to where its page is; one with, nowhere else than to Yahoo.
    let action = if action.is_empty() { url.clone() } else { url.join(&action).ok()? };
    (action.host_str() == url.host_str() && action.scheme() == url.scheme()).then_some(Form { action, fields })
}

/// The insides of all tags of this name.
fn tags<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    page.split('<').skip(1).filter_map(move |rest| {
        let inside = rest.split('>').next()?;
        let attributes = inside.get(name.len()..)?;
        let is_named = inside.get(..name.len())?.eq_ignore_ascii_case(name);
        (is_named && attributes.starts_with(|c: char| c.is_ascii_whitespace() || c == '/')).then_some(attributes)
    })
}

/// The value of an attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once('=') {
        let found = before.split_ascii_whitespace().next_back().unwrap_or_default();
        let after = after.trim_ascii_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, next) = match quote {
            Some(quote) => after.get(1..)?.split_once(quote)?,
            None => after.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((after, "")),
        };
        if found.eq_ignore_ascii_case(name) {
            return Some(unescaped(value));
        }
        rest = next;
    }
    None
}

fn unescaped(value: &str) -> String {
    let entities = [("&quot;", "\""), ("&#39;", "'"), ("&#x2F;", "/"), ("&#x3D;", "="), ("&lt;", "<"), ("&gt;", ">")];
    // The ampersand comes last: what it makes is not read again.
    let value = entities.iter().fold(value.to_owned(), |value, (entity, c)| value.replace(entity, c));
    value.replace("&amp;", "&")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html><form method="post" class=consent-form>
        <input type="hidden" name="csrfToken" value="a&amp;b=c">
        <input type='hidden' name='originalDoneUrl' value='https://finance.yahoo.com/quote/AAPL?guccounter=1'/>
        <input type="checkbox" name="news" value="yes">
        <button type="submit" name="agree" value="agree">Accept all</button></form>"#;

    fn url() -> Url {
        Url::parse("https://consent.yahoo.com/v2/collectConsent?sessionId=3_cc-session_1").unwrap()
    }

    #[test]
    fn hidden_fields_and_the_session_are_sent_back() {
        let form = form_of(&url(), PAGE).unwrap();
        let fields: Vec<_> = form.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let expected = [
            "csrfToken: a&b=c",
            "originalDoneUrl: https://finance.yahoo.com/quote/AAPL?guccounter=1",
            "sessionId: 3_cc-session_1",
            "agree: agree",
        ];
        assert_eq!((form.action, fields), (url(), expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_page_without_a_token_asks_for_nothing() {
        assert_eq!(form_of(&url(), "<html><form><input name=q></form> a < b"), None);
    }

    #[test]
    fn nothing_is_sent_to_strangers() {
        let page = PAGE.replace("<form ", "<form action=\"https://evil.test/\" ");
        assert_eq!(form_of(&url(), &page), None);
    }
}
