//! A member of a JSON text as it stands there: `serde_json::Value` would round its numbers and sort its members.
//!
//! serde_json can do it, but the feature for it would change serde_json for everything that is built on it.

/// The text of the member at `path` of valid JSON; `None` if there is none.
pub(super) fn find<'a>(json: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter().try_fold(json, |object, name| member(object, name))
}

fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = object.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    while rest.first() == Some(&b'"') {
        let (key, after) = rest.split_at_checked(string(rest)?)?;
        let after = after.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, after) = after.split_at_checked(value(after)?)?;
        if serde_json::from_slice::<String>(key).is_ok_and(|key| key == name) {
            return Some(value);
        }
        rest = after.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
    }
    None
}

/// The length of the value that begins here.
fn value(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => at += string(text.get(at..)?)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            // A number or a word, or what is between the parts of an object.
            _ => {
                at += 1;
                let ends = |c: &u8| matches!(c, b',' | b'}' | b']') || c.is_ascii_whitespace();
                if depth > 0 || !text.get(at).is_none_or(ends) {
                    continue;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The length of the string that begins here.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let found = find(json.as_bytes(), &["a", "b"]).map(String::from_utf8_lossy);
        assert_eq!(found.as_deref(), expected, "{json}");
    }

    #[test]
    fn a_member_comes_as_it_is_written() {
        check(r#"{"a":{"b":1.10}}"#, Some("1.10"));
        check(
            r#" { "x" : [ { "a" : "}" } ] , "a" : { "b" : { "z" : [ 1 , "]" ] , "a" : { } } } } "#,
            Some(r#"{ "z" : [ 1 , "]" ] , "a" : { } }"#),
        );
        check(r#"{"x": "\"b\": {", "a": {"\\": true, "b": "\"\\" , "c": null}}"#, Some(r#""\"\\""#));
        check("{\"a\": {\"b\":\nnull\n}}", Some("null"));
        check(r#"{"\u0061": {"b": []}}"#, Some("[]"));
        check(r#"{"a": {"c": {"b": 1}}, "b": 2}"#, None);
        check(r#"{"a": []}"#, None);
        check("{}", None);
        check(r#"{"a": {"b": "#, None);
        check(r#"{"a": {"b": "x"#, None);
    }
}
