//! The roles as this process runs them: started, watched, and drained together.
//!
//! Each role has threads of its own and meets the others only over sockets. What is composed here
//! is who is told which address, and in which order they end.

pub(crate) mod admin;
pub(crate) mod directory;
pub(crate) mod edge;
pub(crate) mod engine;
pub(crate) mod everything;
pub(crate) mod first_product;
pub(crate) mod owner;
pub(crate) mod projector;
pub(crate) mod stock;
pub(crate) mod store;

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use std::cell::RefCell;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// How a role is asked to end.
pub(crate) type Stop = Box<dyn FnOnce() + Send>;
/// How one waits for its end.
pub(crate) type Join = Box<dyn FnOnce() -> Result<(), Failure> + Send>;

/// A role that runs.
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: &'static str,
    /// Asks it to end.
    pub(crate) stop: Stop,
    /// Waits until it has ended.
    pub(crate) join: Join,
}

enum News {
    Signal,
    Ended(&'static str, Result<(), Failure>),
}

/// The roles of this process, in the order in which they were started.
pub(crate) struct Running {
    stops: Vec<(&'static str, Stop)>,
    news: Receiver<News>,
    teller: Sender<News>,
    /// Those whose end is known already: it is told once.
    ended: RefCell<Vec<&'static str>>,
}

impl Running {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (teller, news) = mpsc::channel();
        Self { stops: Vec::new(), news, teller, ended: RefCell::default() }
    }

    /// Watches over one more; a role that needs another is added after it.
    pub(crate) fn add(&mut self, role: Role) {
        let Role { name, stop, join } = role;
        let teller = self.teller.clone();
        self.stops.push((name, stop));
        spawn(&format!("watch-{name}"), move || {
            // Nobody listens any more when the process is about to end.
            let _ = teller.send(News::Ended(name, join()));
        });
    }

    /// Runs until the first signal and drains then (saying so), or until a role ends by itself,
    /// which is a failure: the process stops, and whoever started it starts it again.
    pub(crate) fn until(self, signals: Signals, draining: impl FnOnce()) -> Result<(), Failure> {
        let teller = self.teller.clone();
        spawn("signals", move || {
            signals.wait();
            let _ = teller.send(News::Signal);
        });
        match self.news.recv().expect("this end holds a sender") {
            News::Signal => {
                tracing::info!("draining; a second signal ends it at once");
                draining();
                self.stop()
            }
            News::Ended(name, ended) => Err(ended.err().unwrap_or_else(|| ended_unasked(name))),
        }
    }

    /// Fails when a role has ended by itself; does not wait.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.news.try_recv() {
            Ok(News::Ended(name, ended)) => {
                self.ended.borrow_mut().push(name);
                Err(ended.err().unwrap_or_else(|| ended_unasked(name)))
            }
            Ok(News::Signal) | Err(_) => Ok(()),
        }
    }

    /// Drains the roles one after the other, the last one first: who serves others ends after them.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        let mut ended = self.ended.into_inner();
        for (name, stop) in self.stops.into_iter().rev() {
            stop();
            while !ended.contains(&name) {
                match self.news.recv().expect("this end holds a sender") {
                    News::Ended(name, result) => {
                        result?;
                        ended.push(name);
                    }
                    News::Signal => {}
                }
            }
        }
        Ok(())
    }
}

fn ended_unasked(name: &str) -> Failure {
    Failure::new(Exit::Failure, format!("the {name} ended although nobody asked it to"))
        .next("look at the log lines above; start again with --log-level debug for more of them")
}

/// A named thread. Having none left is beyond help.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .unwrap_or_else(|error| panic!("cannot start the thread `{name}`: {error}"))
}

/// A runtime for a role that needs one thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("cannot start a runtime: {error}"))
}

/// CPUs that this process may use.
pub(crate) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
