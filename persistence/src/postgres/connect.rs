//! Connections, and what an error of one means to a caller.
//!
//! What passes by itself is told from what somebody must mend: a server that starts, stops, fails
//! over or is out of reach is away; a wrong password or a missing database is a refusal that says
//! what to correct. Servers speak in SQLSTATEs; PgBouncer 1.18 often has only words.

use crate::error::StoreError;
use crate::postgres::tls;
use crate::postgres::url::ShardUrl;
use std::error::Error as _;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};

/// Connects, and runs the connection on the current runtime until the client is dropped.
pub(super) async fn connect(
    shard: &str,
    url: &ShardUrl,
    limit: Duration,
) -> Result<Client, StoreError> {
    connect_with_task(shard, url, limit).await.map(|(client, _)| client)
}

/// As [`connect`], with the task that runs the connection: to end it closes the connection at once,
/// also when answers are outstanding.
pub(super) async fn connect_with_task(
    shard: &str,
    url: &ShardUrl,
    limit: Duration,
) -> Result<(Client, AbortHandle), StoreError> {
    let config = url.config(limit);
    // The configuration's limit ends with the TCP connection: a server that accepts and then says
    // nothing would be waited for for ever.
    let limit_all = limit.saturating_mul(url.hosts().max(1) as u32);
    let connector = tls::connector(url.encryption()).map_err(|why| StoreError::Misconfigured {
        what: format!("shard {shard} of the store cannot be verified: {why}"),
        next: "Name the certificate of its authority with sslrootcert in its URL".into(),
    })?;
    let connecting = async {
        match connector {
            Some(tls) => establish(&config, tls).await,
            None => establish(&config, NoTls).await,
        }
    };
    let (client, connection) = match tokio::time::timeout(limit_all, connecting).await {
        Err(_) => {
            let why = format!("{} did not answer within {} ms", url.place(), limit_all.as_millis());
            return Err(StoreError::Away { shard: shard.to_owned(), why });
        }
        Ok(Err(error)) => return Err(refused(shard, url, &error)),
        Ok(Ok(connected)) => connected,
    };
    let name = shard.to_owned();
    let task = tokio::spawn(async move {
        // Whoever uses the client learns of it, too.
        if let Err(error) = connection.await {
            tracing::debug!(shard = %name, error = %words(&error), "a connection ended");
        }
    });
    Ok((client, task.abort_handle()))
}

/// What drives a connection, however it is encrypted.
type Driver = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

async fn establish<T>(config: &Config, tls: T) -> Result<(Client, Driver), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    Ok((client, Box::pin(connection)))
}

/// What an error while connecting to `url` means.
pub(super) fn refused(shard: &str, url: &ShardUrl, error: &tokio_postgres::Error) -> StoreError {
    let place = url.place();
    match failure(shard, error) {
        StoreError::Misconfigured { what, next } => {
            StoreError::Misconfigured { what: format!("{what} ({url})"), next }
        }
        StoreError::Away { shard, why } => {
            StoreError::Away { shard, why: format!("{place}: {why}") }
        }
        StoreError::Failed { why } => {
            StoreError::Failed { why: format!("shard {shard} at {place}: {why}") }
        }
        other => other,
    }
}

/// What an error of a connection or of a statement means.
pub(super) fn failure(shard: &str, error: &tokio_postgres::Error) -> StoreError {
    if let Some(said) = error.as_db_error() {
        return answer(shard, said);
    }
    let away = || StoreError::Away { shard: shard.to_owned(), why: words(error) };
    if error.to_string() == "error performing TLS handshake" {
        return handshake(shard, error);
    }
    let is_io = error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    if error.is_closed() || is_io {
        return away();
    }
    // The kinds are private to the crate; their words are not.
    match error.to_string().as_str() {
        "error connecting to server" | "timeout waiting for server" => away(),
        "invalid configuration" | "authentication error" => StoreError::Misconfigured {
            what: format!("shard {shard} of the store cannot be logged in to: {}", words(error)),
            next: "Correct user and password in the URL of the store".into(),
        },
        _ => StoreError::Failed { why: format!("shard {shard}: {}", words(error)) },
    }
}

/// A server that is not who the URL says, or speaks no TLS, is told from one that went away.
fn handshake(shard: &str, error: &tokio_postgres::Error) -> StoreError {
    let shard = shard.to_owned();
    let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let is_refused = match io {
        Some(io) => {
            io.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        }
        None => true,
    };
    match is_refused {
        false => StoreError::Away { shard, why: words(error) },
        true => StoreError::Misconfigured {
            what: format!(
                "shard {shard} of the store cannot be spoken to in private: {}",
                words(error)
            ),
            next:
                "Correct sslmode, sslrootcert or the host in its URL, or the server's certificate"
                    .into(),
        },
    }
}

fn answer(shard: &str, said: &DbError) -> StoreError {
    let (code, message) = (said.code().code(), said.message());
    let shard = shard.to_owned();
    let why = format!("{message} ({code})");
    let misconfigured =
        |what: String, next: &str| StoreError::Misconfigured { what, next: next.into() };
    match code {
        "28P01" | "28000" => {
            return misconfigured(
                format!("shard {shard} of the store refuses the login: {why}"),
                "Correct user and password in the URL of the store, or the server's pg_hba.conf",
            );
        }
        "3D000" => {
            return misconfigured(
                format!("shard {shard} of the store is missing: {why}"),
                "Create the database with createdb, or correct the URL",
            );
        }
        "42P01" | "42703" | "3F000" => {
            return misconfigured(
                format!("shard {shard} of the store has no such table: {why}"),
                "Make its tables with: doorbuster project --migrate",
            );
        }
        "42501" => {
            return misconfigured(
                format!("shard {shard} of the store forbids it: {why}"),
                "Grant the user of the URL all rights on the database and its schema public",
            );
        }
        _ => {}
    }
    // PgBouncer: its login errors and its lost servers come as 08P01, told apart by their words.
    if code == "08P01" || code.is_empty() {
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        if says(&["password authentication failed", "no such user", "auth failed", "SASL"]) {
            return misconfigured(
                format!("the pooler of shard {shard} refuses the login: {why}"),
                "Correct user and password in the URL, or the pooler's auth_file",
            );
        }
        if says(&["no such database", "does not exist"]) {
            return misconfigured(
                format!("the pooler of shard {shard} knows no such database: {why}"),
                "Correct the URL, or the section [databases] of the pooler",
            );
        }
        if says(&["unsupported startup parameter", "unsupported pkt", "prepared statement"]) {
            return StoreError::Failed { why: format!("the pooler of shard {shard}: {why}") };
        }
        return StoreError::Away { shard, why };
    }
    match (&code[..2], code) {
        ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03") => {
            StoreError::Away { shard, why }
        }
        (
            _,
            "55P03" | "57014" | "40001" | "40P01" | "53300" | "53200" | "53000" | "55006" | "25P02",
        ) => StoreError::Busy { why: format!("shard {shard}: {why}") },
        (_, "53100") => StoreError::Full { why: format!("shard {shard}: {why}") },
        ("XX", _) if code != "XX000" => {
            StoreError::Damaged { why: format!("shard {shard}: {why}") }
        }
        _ => StoreError::Failed { why: format!("shard {shard}: {why}") },
    }
}

/// An error and its causes, in words. Servers do not repeat passwords, and neither does the client.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
