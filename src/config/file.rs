//! Reads the configuration file: flat TOML whose keys are the names of the settings.
//!
//! Every mistake is reported with its line and column, all of them at once; an unknown key comes
//! with the nearest known one. Values stay text here, whatever TOML type they had, so that `5ms`
//! means the same in a flag, in a variable and in the file.

use super::raw::{Origin, Problem};
use super::settings::{self, Setting};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A setting that the file gives.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// What the file gives, and what is wrong with it.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let place = |span: Range<usize>| {
        let (line, column) = line_and_column(text, span.start);
        Origin::File { path: path.to_owned(), line, column }
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let origin = place(error.span().unwrap_or(0..0));
            return (vec![], vec![Problem { origin, text: error.message().to_owned() }]);
        }
    };
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (key, value) in &table {
        let name: &str = key.get_ref();
        let Some(setting) = settings::find(name) else {
            let text = match super::spelling::nearest(name) {
                Some(near) => format!("unknown key `{name}`: did you mean `{near}`?"),
                None => format!("unknown key `{name}`; `doorbuster config init` lists all keys"),
            };
            problems.push(Problem { origin: place(key.span()), text });
            continue;
        };
        let origin = place(value.span());
        match texts(setting, value.get_ref()) {
            Ok(values) => entries.push(Entry { setting, values, origin }),
            Err(text) => problems.push(Problem { origin, text }),
        }
    }
    (entries, problems)
}

fn texts(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    if let DeValue::Array(items) = value {
        if !setting.many {
            return Err(format!("`{}` takes one value, not a list", setting.name));
        }
        return items.iter().map(|item| text_of(setting, item.get_ref())).collect();
    }
    Ok(vec![text_of(setting, value)?])
}

fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        other => Err(format!(
            "`{}` takes a text or a decimal number, not a value of type {}",
            setting.name,
            other.type_str()
        )),
    }
}

/// Both count from 1; the column counts characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_with_line_and_column() {
        fn check(text: &str, expected: &[&str]) {
            let (_, problems) = parse(Path::new("x.toml"), text);
            let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{text}");
        }
        check("http = \"127.0.0.1:0\"\ncores = 2", &[]);
        check("\n  htpp = \"x\"", &["x.toml:2:3: unknown key `htpp`: did you mean `http`?"]);
        check("http = [\"a\"]", &["x.toml:1:8: `http` takes one value, not a list"]);
        check(
            "cores = 1.5",
            &["x.toml:1:9: `cores` takes a text or a decimal number, not a value of type float"],
        );
        check(
            "[engine]\ncores = 1",
            &["x.toml:1:1: `engine` takes a text or a decimal number, not a value of type table"],
        );
    }

    #[test]
    fn broken_toml_is_one_problem_where_it_breaks() {
        let (entries, problems) = parse(Path::new("x.toml"), "http = \"a\"\ncores = = 2\n");
        assert!(entries.is_empty());
        assert!(problems[0].to_string().starts_with("x.toml:2:"), "{}", problems[0]);
    }

    #[test]
    fn a_list_is_several_values() {
        let (entries, problems) = parse(Path::new("x"), "store = [\"sqlite\", \"sqlite:/x\"]");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(entries[0].values, ["sqlite", "sqlite:/x"]);
    }
}
