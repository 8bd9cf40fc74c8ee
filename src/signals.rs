//! SIGTERM and Ctrl-C: the first one asks to drain, the second one ends the process at once.

use crate::exit::Exit;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first of these signals, as something to wait for.
#[derive(Debug)]
pub(crate) struct Signals {
    pipe: UnixStream,
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over from the default, which would end the process without a drain.
    pub(crate) fn take() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            let status = i32::from(Exit::Interrupted.number());
            // The order matters: a second signal finds the flag set by the first one.
            flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { pipe, asked })
    }

    /// Whether there was one; does not wait.
    pub(crate) fn have_come(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Blocks until the first signal.
    pub(crate) fn wait(mut self) {
        let mut byte = [0];
        while let Err(error) = self.pipe.read(&mut byte) {
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "the pipe of signals holds");
        }
    }
}
