//! Buyers on a thread of their own, and the journal of what they did and were told.

use super::token_secret;
use doorbuster_loadgen::journal::{self, Entry};
use doorbuster_loadgen::{Amount, Credentials, Plan, Progress, Report, Target};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A load that goes on until it is stopped.
pub struct Load {
    /// How far it is.
    pub progress: Arc<Progress>,
    list: PathBuf,
    /// `None` once it was waited for.
    thread: Option<JoinHandle<Report>>,
}

impl Load {
    /// Starts it: buyers of every product, as `change` says.
    pub fn start(http: SocketAddr, data: &Path, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan {
            amount: Amount::Duration(Duration::from_secs(3_600)),
            credentials: Credentials::secret(&token_secret(data)),
            journal: Some(data.with_extension("journal.jsonl")),
            ..Plan::new(Target::http(http))
        };
        change(&mut plan);
        let list = plan.journal.clone().expect("a list of what was acknowledged");
        let progress = Arc::new(Progress::default());
        let thread = {
            let progress = Arc::clone(&progress);
            std::thread::spawn(move || {
                doorbuster_loadgen::run(plan, progress).unwrap_or_else(|error| panic!("{error}"))
            })
        };
        Self { progress, list, thread: Some(thread) }
    }

    /// Whether it still goes on.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Where everything that it sends and is answered is written.
    pub fn journal(&self) -> &Path {
        &self.list
    }

    /// Stops it: the report, which must be clean, and what was acknowledged.
    pub fn stop(mut self) -> (Report, Vec<Entry>) {
        self.progress.stop();
        let report = self.thread.take().expect("it is waited for once").join().expect("no panic");
        assert!(report.is_clean(), "{report}");
        let acknowledged = journal::read(&self.list).expect("the list of acknowledged orders");
        eprintln!("{} orders, {} acknowledgements", report.accepted, acknowledged.len());
        (report, acknowledged)
    }
}

impl Drop for Load {
    /// A test that failed waits for nobody: the thread ends by itself, soon.
    fn drop(&mut self) {
        self.progress.stop();
    }
}
