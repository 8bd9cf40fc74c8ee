//! The log filter: a level, or directives of `tracing` for parts of the program.
//!
//! The grammar is that of
//! [`EnvFilter`](https://docs.rs/tracing-subscriber/0.3/tracing_subscriber/filter/struct.EnvFilter.html#directives),
//! without its traps: its parser counts a directive's bytes behind the spaces before it, but cuts
//! from the start, so that ` doorbuster=debug` names something else, and `é` in front of a bracket
//! ends the process. Values of fields are compared as they stand: a pattern would be compiled
//! into a table whose size nothing bounds.

use tracing_subscriber::EnvFilter;

/// The filter that `text` stands for: directives between commas, spaces around them ignored.
///
/// # Errors
/// What is wrong with it, for a person who reads a configuration.
pub(crate) fn log_filter(text: &str) -> Result<EnvFilter, String> {
    if let Some(other) = text.chars().find(|c| !c.is_ascii()) {
        return Err(format!(
            "`{text}` is no log level or filter: `{other}` stands in no name of a target, span or \
             field; use ASCII"
        ));
    }
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    EnvFilter::builder()
        .with_regex(false)
        .parse(directives.join(","))
        .map_err(|error| format!("`{text}` is no log level or filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        log_filter(text).expect("a filter").to_string()
    }

    #[test]
    fn levels_and_directives_are_taken() {
        assert_eq!(shown("info"), "info");
        assert_eq!(shown("warn,doorbuster=debug"), shown("doorbuster=debug,warn"));
        assert_eq!(shown("a::b[c{d=1}]=debug"), "a::b[c{d=1}]=debug");
    }

    #[test]
    fn spaces_around_directives_change_nothing() {
        assert_eq!(shown(" warn , doorbuster=debug "), shown("warn,doorbuster=debug"));
    }

    #[test]
    fn what_stands_in_no_name_is_refused() {
        for text in [" inf\u{e9}[c{d=1}]=debug", "\u{3000}info", "info\u{85}"] {
            let problem = log_filter(text).expect_err("not ASCII");
            assert!(problem.contains("is no log level or filter"), "{problem}");
        }
        assert!(log_filter("a=loud").expect_err("no level").contains("`a=loud`"));
    }

    #[test]
    fn a_field_is_no_pattern() {
        assert!(log_filter("a[b{c=[}]=info").is_ok(), "no pattern, so none that is wrong");
    }
}
