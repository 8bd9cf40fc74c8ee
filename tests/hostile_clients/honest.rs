//! Buyers who do as they should, while others do not.

use super::attack;
use super::support::http::Client;
use super::support::{Server, token_secret};
use doorbuster_edge::TokenSecret;
use doorbuster_edge::token::mint;
use doorbuster_loadgen::{Amount, Credentials, Pace, Plan, Prepare, Progress, Report, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// The product that those buy who come anew.
pub(crate) const NEW: &str = "new";
/// Time between two buyers who come anew.
const NEWCOMERS_EVERY: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3_600);

/// Honest buyers on kept connections.
pub(crate) struct Honest {
    plan: Plan,
    /// Orders per second when they do not ask for all that is possible.
    rate: f64,
}

impl Honest {
    /// So many of them, who ask for a share of what is possible, or at a rate.
    pub(crate) fn of(server: &Server, connections: usize, asking: Asking) -> Self {
        let plan = Plan {
            concurrency: connections,
            buyers: 5_000,
            products: vec!["honest".to_owned()],
            duplicates: 0.05,
            credentials: Credentials::secret(&token_secret(server.data())),
            prepare: Some(Prepare {
                stock: 1_000_000_000,
                price: 100,
                limit_per_buyer: 0,
                hold_seconds: 3_600,
                waitlist_capacity: 0,
            }),
            ..Plan::new(Target::http(server.http))
        };
        let mut honest = Self { plan, rate: 0.0 };
        match asking {
            Asking::ForShare(share, window) => {
                let capacity = honest.buy_all_they_can(window).rate;
                honest.rate = capacity * share;
                println!(
                    "honest buyers: {:.0} orders/s of about {capacity:.0}/s that would be possible",
                    honest.rate
                );
            }
            Asking::ForRate(rate, window) => {
                honest.buy_all_they_can(window);
                honest.rate = rate;
            }
        }
        honest.plan.prepare = None;
        honest
    }

    /// Lets them buy at their rate for a while; every answer must be right.
    pub(crate) fn buy_for(&self, window: Duration) -> Report {
        self.run(Pace::Open { rate: self.rate }, window)
    }

    /// Lets each buy again as soon as the last answer is there.
    pub(crate) fn buy_all_they_can(&self, window: Duration) -> Report {
        self.run(Pace::Closed, window)
    }

    fn run(&self, pace: Pace, window: Duration) -> Report {
        let amount = Amount::Duration(window);
        let plan = Plan { pace, amount, seed: fastrand::u64(..), ..self.plan.clone() };
        let report = doorbuster_loadgen::run(plan, Arc::new(Progress::default()));
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.errors, report.violations), (0, 0), "{report}");
        report
    }
}

/// How much honest buyers ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asking {
    /// A share of what is possible, which is found out in so long.
    ForShare(f64, Duration),
    /// Orders per second, after they bought as they liked for so long.
    ForRate(f64, Duration),
}

/// Honest buyers who come anew, each on a connection of their own, with a token that nobody has
/// seen before, from an address that attackers come from, too.
pub(crate) struct Newcomers {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Newcomers {
    pub(crate) fn come(server: &Server) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let (http, leaving) = (server.http, Arc::clone(&leave));
        let secret =
            TokenSecret::new(token_secret(server.data())).expect("the server has one like it");
        let thread = std::thread::spawn(move || {
            let mut served = 0;
            while !leaving.load(Relaxed) {
                buy_anew(http, &secret);
                served += 1;
                std::thread::sleep(NEWCOMERS_EVERY);
            }
            served
        });
        Self { leave, thread: Some(thread) }
    }

    pub(crate) fn leave(mut self) {
        self.leave.store(true, Relaxed);
        let thread = self.thread.take().expect("they leave once");
        let served = thread.join().expect("newcomers are served");
        assert!(served > 0, "somebody came");
    }
}

impl Drop for Newcomers {
    /// Who is left behind by a test that failed must not buy on from a server that is gone.
    fn drop(&mut self) {
        self.leave.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn buy_anew(http: SocketAddr, secret: &TokenSecret) {
    let name = format!("newcomer-{:016x}", fastrand::u64(..));
    let token = mint(secret, &name, false, HOUR).expect("a token");
    let mut client = Client::connect_from(attack::SHARED_ADDRESS, http);
    let answer = client.buy(NEW, &token, None, false);
    assert_eq!(answer.status, 201, "{answer:?}");
}
