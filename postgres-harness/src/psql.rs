//! How SQL is run: by the `psql` that comes with the server, so that no driver under test is asked
//! about itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Between the columns of a row; no text of a test has it.
const COLUMN_END: &str = "\u{1f}";
/// Between rows.
const ROW_END: &str = "\u{1e}";

/// `psql` on its way to `url`, whose password no list of processes shows.
pub(crate) fn command(programs: &Path, url: &str) -> Command {
    let (address, password) = without_password(url);
    let mut command = Command::new(programs.join("psql"));
    command
        .args(["--no-psqlrc", "--quiet", "--no-password", "--dbname", &address])
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .env("PGAPPNAME", "harness")
        .env_remove("PGOPTIONS")
        .env_remove("PGSERVICE");
    command
}

/// Takes the password out of a URL.
fn without_password(url: &str) -> (String, String) {
    let parts = url.split_once('@').and_then(|(login, rest)| {
        let (user, password) = login.rsplit_once(':')?;
        Some((format!("{user}@{rest}"), password.to_owned()))
    });
    parts.unwrap_or_else(|| panic!("a URL of the harness has a user and a password"))
}

/// Runs statements, each in a transaction of its own where none is begun, and gives what they
/// print: a row a line, its columns parted by `|`, a NULL as nothing.
pub(crate) fn lines(programs: &Path, url: &str, sql: &str) -> Result<String, String> {
    let text = output(programs, url, sql, &[])?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// The rows of one query, whose texts may have any line ends in them.
pub(crate) fn rows(programs: &Path, url: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let separators = ["--field-separator", COLUMN_END, "--record-separator", ROW_END];
    let text = output(programs, url, sql, &separators)?;
    // The last row ends with a line end; no row prints nothing at all.
    let Some(text) = text.strip_suffix('\n') else { return Ok(Vec::new()) };
    let columns = |row: &str| row.split(COLUMN_END).map(str::to_owned).collect();
    Ok(text.split(ROW_END).map(columns).collect())
}

fn output(programs: &Path, url: &str, sql: &str, arguments: &[&str]) -> Result<String, String> {
    let mut child = command(programs, url)
        .args(["--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--file", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", programs.join("psql").display()))?;
    let mut stdin = child.stdin.take().expect("piped");
    let sql = sql.as_bytes().to_owned();
    // It answers before it has read everything: a thread writes while this one reads.
    let writer = std::thread::spawn(move || {
        // It has gone when this fails, and says why.
        let _ = stdin.write_all(&sql);
    });
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    writer.join().expect("it only writes");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// A result that a test cannot go on without.
pub(crate) fn expect<T>(result: Result<T, String>, sql: &str) -> T {
    result.unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
}
