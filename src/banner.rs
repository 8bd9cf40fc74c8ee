//! What `serve` says when it is ready: addresses, data, durability, and one line that buys
//! something as it is printed.

use crate::config::Config;
use crate::roles::everything::Everything;
use crate::roles::first_product;
use serde_json::{Value, json};
use std::env;
use std::fmt::Write;
use std::path::Path;

/// For eyes.
pub(crate) fn text(config: &Config, everything: &Everything) -> String {
    let Everything { http, engine, edge_threads, .. } = everything;
    let data = config.data.display();
    let age = if everything.is_new { "new" } else { "recovered" };
    let mut text = format!("\nDoorbuster {} is ready\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line("buyers", format!("http://{http}"));
    if let Some(admin) = everything.admin {
        line("metrics", format!("http://{admin}/metrics"));
    }
    line("data", format!("{data} ({age}, {} partitions)", engine.partitions));
    line("store", everything.store.description.clone());
    line("durability", engine.durability.clone());
    let cores = engine.addresses.len();
    line("threads", format!("{cores} engine, {edge_threads} edge"));
    let program = program();
    let data = quoted(&config.data.to_string_lossy());
    let product = first_product::NAME;
    let _ = write!(
        text,
        "\nBuy something:\n\n  curl -X POST http://{http}/orders/flash-sale/{product} \\\n    \
         -H \"Authorization: Bearer $({program} token --data {data} --user ann)\" \\\n    \
         -H 'Content-Type: application/json' -d '{{\"quantity\": 1}}'\n\n\
         Ctrl-C drains and stops it; a second one stops at once.\n\n",
    );
    text
}

/// For programs: one line.
pub(crate) fn json(config: &Config, everything: &Everything) -> Value {
    json!({
        "http": everything.http.to_string(),
        "admin": everything.admin.map(|admin| admin.to_string()),
        "engine": everything.engine.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "data": config.data,
        "new": everything.is_new,
        "partitions": everything.engine.partitions,
        "store": everything.store.description,
        "durability": everything.engine.durability,
    })
}

/// How to call this program again from the same shell: by name when that finds it.
fn program() -> String {
    let Ok(path) = env::current_exe() else { return "doorbuster".to_owned() };
    let found = env::var_os("PATH").and_then(|all| {
        env::split_paths(&all).map(|dir| dir.join("doorbuster")).find(|it| it.is_file())
    });
    if found.and_then(|found| found.canonicalize().ok()).as_ref() == Some(&path) {
        return "doorbuster".to_owned();
    }
    let here = env::current_dir().ok();
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    let shown = below.map_or(path.clone(), |below| Path::new(".").join(below));
    quoted(&shown.to_string_lossy())
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_split_them() {
        fn check(text: &str, expected: &str) {
            assert_eq!(quoted(text), expected);
        }
        check("./data", "./data");
        check("/a b", "'/a b'");
        check("it's", r"'it'\''s'");
        check("$HOME", "'$HOME'");
    }
}
