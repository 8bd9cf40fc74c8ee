//! `config init | check | show`.

use crate::cli::{Config, ConfigInit, ConfigShow};
use crate::config::{self, Given, show, validated};
use crate::exit::{Exit, Failure};
use std::fs::File;
use std::io::{self, Write};

/// Runs one of them.
pub(crate) fn run(command: Config) -> Result<Exit, Failure> {
    match command {
        Config::Init(arguments) => init(&arguments),
        Config::Check(settings) => check(&settings.0),
        Config::Show(arguments) => show(&arguments),
    }
}

fn init(arguments: &ConfigInit) -> Result<Exit, Failure> {
    let template = show::template();
    let Some(path) = &arguments.output else {
        return super::print(&template);
    };
    // Never over a file that is there: somebody may have worked on it.
    let written = File::create_new(path).and_then(|mut file| file.write_all(template.as_bytes()));
    written.map_err(|error| {
        let next = match error.kind() {
            io::ErrorKind::AlreadyExists => "name a file that does not exist yet",
            _ => "name a file in a directory that exists and that you may write to",
        };
        Failure::new(Exit::Failure, format!("cannot write {}", path.display()))
            .why(error)
            .next(next)
    })?;
    super::print(&format!("wrote {}\n", path.display()))
}

fn check(given: &Given) -> Result<Exit, Failure> {
    config::load(given)?;
    let from = match &given.file {
        Some(path) => format!("{} is", path.display()),
        None => "the configuration (no file was named) is".to_owned(),
    };
    super::print(&format!("{from} valid\n"))
}

fn show(arguments: &ConfigShow) -> Result<Exit, Failure> {
    let (raw, mut problems) = config::read(&arguments.settings.0)?;
    if arguments.json {
        super::print(&format!("{:#}\n", show::json(&raw)))?;
    } else {
        super::print(&show::table(&raw, arguments.origin))?;
    }
    // What is in effect is shown even when something is wrong with it; the exit code tells.
    if let Err(more) = validated::Config::validate(&raw) {
        problems.extend(more);
    }
    if problems.is_empty() { Ok(Exit::Success) } else { Err(config::refusal(&problems)) }
}
