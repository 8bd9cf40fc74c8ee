//! The configuration file: any text is a valid configuration, or mistakes that each name a line
//! and a column of it, or the setting whose default does not go with the others.
//!
//! A secret is never shown: not in a mistake, not by `config show`.

use crate::Seed;
use crate::config::raw::{Origin, RawConfig};
use crate::config::validated::Config;
use crate::config::{refusal, settings, show};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// What configuration files are made of.
pub const WORDS: &[&str] = &[
    "store = [\"postgres://u:p@h/d\"]\n",
    "store-buckets = \"0-511; 512-1023\"\n",
    "store-reads = [\"shard-0=postgres://h/d\"]\n",
    "http = \"127.0.0.1:0\"\n",
    "engine = [\"127.0.0.1:1\"]\n",
    "segment-size = \"8MiB\"\n",
    "high-water = \"1_000.5KiB\"\n",
    "order-timeout = \"5ms\"\n",
    "rate-limit = \"20/s burst 100\"\n",
    "token-algorithm = \"RS256\"\n",
    "token-public-key = \"k\"\n",
    "log-level = \"info,a::b[c{d=1}]=debug\"\n",
    "log-level = \" info, a[b{c}]\"\n",
    "[engine]\n",
    "\"\"\"",
    "'''",
    "auto",
    "off",
    "#",
    "\\u00e9",
];

/// A secret that is put in place of the file's own.
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-";

/// One input: the text of a file.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("doorbuster.toml");
    let environment = |name: &str| (name == "DOORBUSTER_TOKEN_SECRET").then(|| SECRET.to_owned());
    let (raw, mut problems) = RawConfig::layer(&vec![], environment, Some((path, text)));
    if !asks_nobody(&raw) {
        return;
    }
    let shown = [show::table(&raw, true), show::json(&raw).to_string()];
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "a secret is never shown");
    match Config::validate(&raw) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET), "a secret is never shown");
        }
        Err(more) => {
            assert!(!more.is_empty(), "a refusal has a reason");
            problems.extend(more);
        }
    }
    for problem in &problems {
        assert!(!problem.text.is_empty(), "a mistake says what is wrong");
        match &problem.origin {
            Origin::File { line, column, .. } => check_place(text, *line, *column),
            // A setting that another one needs.
            Origin::Default => {}
            other => panic!("a mistake of {other} without any there"),
        }
    }
    assert!(!refusal(&problems).to_string().contains(SECRET), "a secret is never shown");
}

/// A line and a column that are there, or stand right behind what is there.
fn check_place(text: &str, line: usize, column: usize) {
    let lines: Vec<&str> = text.split('\n').collect();
    let found = line.checked_sub(1).and_then(|index| lines.get(index));
    let found = found.unwrap_or_else(|| panic!("line {line} of {}", lines.len()));
    let columns = found.chars().count() + 1;
    assert!((1..=columns).contains(&column), "column {column} of {columns} in line {line}");
}

/// Whether no address is a name that the system would be asked for: nothing here leaves the
/// machine.
fn asks_nobody(raw: &RawConfig) -> bool {
    let is_number = |text: &String| {
        text.parse::<SocketAddr>().is_ok()
            || text.rsplit_once(':').is_none_or(|(host, port)| {
                port.parse::<u16>().is_err() || host.is_empty() || host.parse::<IpAddr>().is_ok()
            })
    };
    let addresses = ["http", "admin", "engine-listen", "engine"];
    addresses.into_iter().all(|name| raw.get(name).values.iter().all(is_number))
}

/// The template, each setting alone, and files that are wrong.
pub fn seeds() -> Vec<Seed> {
    let mut texts = vec![
        String::new(),
        "http = \"a\"\ncores = = 2\n".to_owned(),
        "\n  htpp = \"x\"".to_owned(),
        "é = 1\n\"é\" = [1, [2]]\n[engine]\ncores = 1".to_owned(),
        "cores = 0x10\npartitions = 1_6\nhttp = 8080\nadmin = 1979-05-27".to_owned(),
        "store = [\"postgres://u:p@a/x\", \"east=postgres://u@b/x\"]\nstore-buckets = \"even\""
            .to_owned(),
        "token-algorithm = \"EdDSA\"\ntoken-public-key = 'k.pem'".to_owned(),
    ];
    texts.extend(show::template().split("\n\n").map(|block| block.replace("# ", "")));
    for setting in settings::SETTINGS {
        texts.push(format!("{} = \"{}\"\n", setting.name, setting.default));
        texts.push(format!("{} = [\"x\", 1]\n", setting.name));
    }
    let all = texts.into_iter().enumerate();
    all.map(|(number, text)| (format!("file-{number}"), text.into_bytes())).collect()
}
