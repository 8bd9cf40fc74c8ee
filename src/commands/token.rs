//! `token`: prints a bearer token.

use crate::cli::Token;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::secrets::Secrets;
use doorbuster_edge::token::{self, TokenSecret};

/// Prints it on a line of its own.
pub(crate) fn run(arguments: &Token) -> Result<Exit, Failure> {
    let config = config::load(&arguments.settings.0)?;
    let secret = Secrets::of(&config.data).token_secret(&config)?;
    let secret =
        TokenSecret::new(secret.expose()).expect("a secret of this program is long enough");
    let token = token::mint(&secret, &arguments.user, arguments.admin, arguments.ttl)
        .map_err(|error| Failure::because(Exit::Usage, "no token can be made", &error))?;
    super::print(&format!("{token}\n"))
}
