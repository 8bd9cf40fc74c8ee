//! Panics of a run: kept for its report instead of being printed.
//!
//! A run is one thread, and tokio swallows the panic of a task that nobody joins. So a hook keeps
//! the first one of the thread, and the run asks for it.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Watches the panics of this thread until it is dropped.
pub struct Watch(());

impl Watch {
    /// Begins to watch; what was kept before is forgotten.
    pub fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !IS_WATCHED.get() {
                    return usual(info);
                }
                let message = info.payload_as_str().unwrap_or("a panic without a message");
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                FIRST.with_borrow_mut(|first| {
                    first.get_or_insert_with(|| format!("panicked: {message} ({place})"));
                });
            }));
        });
        FIRST.with_borrow_mut(|first| *first = None);
        IS_WATCHED.set(true);
        Self(())
    }

    /// The first panic since the watch began.
    pub fn seen(&self) -> Option<String> {
        FIRST.with_borrow(Clone::clone)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        IS_WATCHED.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_is_kept() {
        let watch = Watch::begin();
        assert_eq!(watch.seen(), None);
        for number in 1..3 {
            let _ = std::panic::catch_unwind(|| panic!("number {number}"));
        }
        let seen = watch.seen().expect("a panic");
        assert!(seen.starts_with("panicked: number 1 (simulator/src/panics.rs:"), "{seen}");
    }
}
