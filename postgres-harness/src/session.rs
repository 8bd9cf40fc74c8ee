//! A connection that stays: `psql` that is told one statement after the other.

use crate::psql;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// Printed after each answer; no text of a test has it.
const ANSWER_END: &str = "-- end of the answer --";

/// A session with its transactions and its locks; closed, and so rolled back, when dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    pub(crate) fn open(programs: &Path, url: &str) -> Self {
        let mut child = psql::command(programs, url)
            .args(["--no-align", "--tuples-only"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("psql is there");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut session = Self { child, stdin, stdout };
        assert_eq!(session.psql("SELECT 'connected'"), "connected");
        session
    }

    /// Runs SQL to its end: a row a line. What fails is seen on standard error, and prints nothing.
    pub fn psql(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql};\n\\echo {ANSWER_END}").expect("psql runs");
        self.stdin.flush().expect("psql runs");
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).expect("psql runs");
            assert!(length > 0, "the session has ended\nin: {sql}");
            if line.trim_end() == ANSWER_END {
                return answer.trim_end_matches('\n').to_owned();
            }
            answer.push_str(&line);
        }
    }

    /// Its process id in Postgres.
    pub fn backend(&mut self) -> i32 {
        self.psql("SELECT pg_backend_pid()").parse().expect("a process id")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Postgres sees the connection end, and rolls back.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
