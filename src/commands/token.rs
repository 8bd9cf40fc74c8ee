//! `token`: prints a bearer token.

use crate::cli::Token;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::secrets::Secrets;

/// Prints it on a line of its own. It obeys the rules that the edge checks tokens with.
pub(crate) fn run(arguments: &Token) -> Result<Exit, Failure> {
    let config = config::load(&arguments.settings.0)?;
    let token = Secrets::of(&config.data)
        .token_rules(&config)?
        .mint(&arguments.user, arguments.admin, arguments.ttl)
        .map_err(|error| Failure::because(Exit::Usage, "no token can be made", &error))?;
    super::print(&format!("{token}\n"))
}
