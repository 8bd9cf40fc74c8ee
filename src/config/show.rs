//! A configuration as text: the commented file of `config init`, the table of `config show`.

use super::raw::{Given, RawConfig};
use super::settings::{SETTINGS, Setting};
use std::fmt::Write;

/// A commented TOML file with every setting at its default, commented out.
pub(crate) fn template() -> String {
    let mut text = String::from(
        "# Doorbuster's configuration. Every setting stands here at its default; take away the `#`\n\
         # in front of one to change it. A flag beats a DOORBUSTER_… variable, a variable beats\n\
         # this file. Check it with: doorbuster config check --config FILE\n",
    );
    for setting in SETTINGS {
        text.push('\n');
        for line in wrapped(setting.about, 96) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "# {} = {}", setting.name, toml_value(setting));
    }
    text
}

fn toml_value(setting: &Setting) -> String {
    match setting.default {
        "" if setting.many => "[\"…\"]".to_owned(),
        "" => "\"…\"".to_owned(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.to_owned(),
        text if setting.many => format!("[\"{text}\"]"),
        text => format!("\"{text}\""),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What is in effect, one setting a line; with `origin`, where each value came from.
pub(crate) fn table(raw: &RawConfig, origin: bool) -> String {
    let mut text = String::new();
    let width = SETTINGS.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
    for given in raw.iter() {
        let made = if given.setting.secret { "(made at the first start)" } else { "(none)" };
        let value = shown(given).unwrap_or_else(|| made.to_owned());
        let line = format!("{:<width$} {value}", given.setting.name);
        let _ = match origin {
            true => writeln!(text, "{line:<58} {}", given.origin),
            false => writeln!(text, "{line}"),
        };
    }
    text
}

/// The same as one JSON object.
pub(crate) fn json(raw: &RawConfig) -> serde_json::Value {
    raw.iter()
        .map(|given| {
            let value = serde_json::json!({
                "value": shown(given),
                "origin": given.origin.kind(),
                "from": given.origin.to_string(),
            });
            (given.setting.name.to_owned(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The value for eyes: a secret and the password of a URL are never shown.
fn shown(given: &Given) -> Option<String> {
    if given.values.is_empty() {
        return None;
    }
    if given.setting.secret {
        return Some("(redacted)".to_owned());
    }
    Some(given.values.iter().map(|value| without_password(value)).collect::<Vec<_>>().join(", "))
}

/// A value for eyes and for error messages: without the password of a URL, wherever it stands.
pub(crate) fn without_password(text: &str) -> String {
    let hidden = text.split_once("://").and_then(|(scheme, rest)| {
        let (login, host) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:(redacted)@{host}"))
    });
    let mut left = hidden.as_deref().unwrap_or(text);
    let mut shown = String::with_capacity(left.len());
    // As a parameter: `?password=…&`, or in the keywords of a connection string.
    while let Some(at) = left.to_ascii_lowercase().find("password=") {
        let (before, value) = left.split_at(at + "password=".len());
        shown.push_str(before);
        shown.push_str("(redacted)");
        let end = match value.strip_prefix('\'') {
            Some(quoted) => quoted.find('\'').map(|end| end + 2),
            None => value.find(|c: char| c == '&' || c.is_whitespace()),
        };
        let end = end.unwrap_or(value.len());
        left = &value[end..];
    }
    shown + left
}

#[cfg(test)]
mod tests {
    use super::super::validated::Config;
    use super::*;
    use std::path::Path;

    #[test]
    fn the_template_is_a_valid_file_with_and_without_its_comment_signs() {
        let path = Path::new("doorbuster.toml");
        let bare: String = template()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") && !rest.contains('…') => format!("{rest}\n"),
                _ => "\n".to_owned(),
            })
            .collect();
        for (text, kind) in [(template(), "default"), (bare, "file")] {
            let (raw, problems) = RawConfig::layer(&vec![], |_| None, Some((path, &text)));
            assert_eq!(problems, []);
            assert!(Config::validate(&raw).is_ok());
            assert_eq!(raw.get("http").origin.kind(), kind);
        }
    }

    #[test]
    fn passwords_are_found_however_they_are_written() {
        for text in ["host=h password='hunter 2' user=x", "postgres://a@h/x?Password=hunter&b=2"] {
            let shown = without_password(text);
            assert!(
                !shown.contains("hunter") && shown.ends_with(&text[text.len() - 2..]),
                "{shown}"
            );
            assert!(!shown.contains("2'"), "{shown}");
        }
    }

    #[test]
    fn secrets_and_passwords_are_hidden() {
        let (raw, _) = RawConfig::layer(
            &vec![(
                "store",
                vec![
                    "postgres://ann:hunter2@db:5432/x".to_owned(),
                    "b=postgres://ann@db/y?password=hunter2&sslmode=require".to_owned(),
                ],
            )],
            |name| (name == "DOORBUSTER_TOKEN_SECRET").then(|| "s3cret".repeat(8)),
            None,
        );
        for text in [table(&raw, true), json(&raw).to_string()] {
            assert!(!text.contains("hunter2") && !text.contains("s3cret"), "{text}");
            assert!(text.contains("sslmode=require"), "{text}");
            assert!(text.contains("ann") && text.contains("DOORBUSTER_TOKEN_SECRET"), "{text}");
        }
    }
}
