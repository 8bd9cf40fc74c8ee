//! A panic is a bug: whichever thread it happens on, it ends the process with a message that can
//! be reported, and an exit code of its own.
//!
//! The process does not go on with a thread less: nobody could say which promise still holds. The
//! log is safe at every moment, so the next start recovers what was acknowledged. Where a panic of
//! foreign code is expected and caught (the probes at start-up), the thread's name says so.

use crate::exit::Exit;
use doorbuster_engine::fitness::FITNESS_THREAD;
use doorbuster_engine::state_machine::ReceiptsLost;
use doorbuster_engine::storage::PROBE_THREAD;
use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::PanicHookInfo;

/// Installs the hook.
pub(crate) fn end_the_process_on_a_bug() {
    std::panic::set_hook(Box::new(|info| {
        if is_expected() {
            return;
        }
        let exit = match info.payload().downcast_ref() {
            Some(lost) => report_lost(lost),
            None => report(info),
        };
        std::process::exit(i32::from(exit.number()));
    }));
}

/// Threads that try what glommio may not survive, and whose end is looked at by who started them.
fn is_expected() -> bool {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("");
    [PROBE_THREAD, FITNESS_THREAD].iter().any(|probe| name.starts_with(probe))
}

/// Receipts that the disk does not give back are no bug, but there is no going on without them.
fn report_lost(ReceiptsLost(error): &ReceiptsLost) -> Exit {
    let text = format!(
        "\nerror[{}]: what old idempotency keys were answered cannot be read back\n   \
         why: {error}\n  \
         next: look into the disk (dmesg), and start again: log and snapshots have all of it.\n",
        Exit::Failure.code(),
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Failure
}

fn report(info: &PanicHookInfo<'_>) -> Exit {
    let thread = std::thread::current();
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let reason = info.payload_as_str().unwrap_or("no message");
    // Written in one go and without a panic of its own, should standard error be closed.
    let text = format!(
        "\nerror[{}]: doorbuster {} stopped because of a bug in it\n   \
         why: {reason}\n        at {place}, thread `{}`\n  \
         next: start it again: what was acknowledged is in the log and comes back.\n        \
         Then please report this message with what follows.\n\n{}\n",
        Exit::Bug.code(),
        env!("CARGO_PKG_VERSION"),
        thread.name().unwrap_or("unnamed"),
        Backtrace::force_capture(),
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Bug
}
