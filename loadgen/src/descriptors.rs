//! Open files: how many the process may have, so that connections do not run out of them half-way.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: timers, results, the terminal.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one; an error, if so many connections do not fit into that.
pub(crate) fn make_room_for(connections: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    match now {
        Some(files) if connections.saturating_add(RESERVED) > files => Err(format!(
            "{connections} connections are more than this process may have open files: {files}. \
             Raise that with `ulimit -n`, or ask for fewer"
        )),
        _ => Ok(()),
    }
}
