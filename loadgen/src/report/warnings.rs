//! What makes the figures of a report less than they seem.

use super::Report;
use crate::tally::{LATE, Tally, micros};
use crate::units;

/// Share of its time from which on a load thread has no room left.
const BUSY: f64 = 0.9;
/// Share of its time that a generator may stand still: beyond it, p99 is its own.
const STALLED: f64 = 0.01;

impl Report {
    pub(super) fn find_warnings(&self, tally: &Tally) -> Vec<String> {
        let jobs_dropped = tally.jobs_dropped;
        let mut warnings = Vec::new();
        if self.is_open_loop() {
            // One long stall is a single late wake, but all slots of its time are late.
            let stalled = tally.stalled / u32::try_from(self.threads.max(1)).unwrap_or(u32::MAX);
            let has_stalled = stalled.as_secs_f64() > STALLED * self.elapsed_seconds;
            if self.lateness.p99_us > micros(LATE) {
                warnings.push(format!(
                    "the generator itself fell behind: its timer woke {} late at p99. It has too \
                     little CPU time, and the latencies above include that",
                    units::time(self.lateness.p99_us)
                ));
            } else if has_stalled {
                warnings.push(format!(
                    "the generator itself stood still for {} of the run, {} at the longest: it \
                     was stopped, or has too little CPU time, and the latencies above include that",
                    units::time(micros(stalled)),
                    units::time(self.lateness.max_us)
                ));
            }
            // What the generator did to itself is no fault of the connections.
            let own = match has_stalled {
                true => self.lateness.max_us,
                false => self.lateness.p99_us,
            };
            if self.send_delay.p99_us > 10_000.max(2 * own) {
                warnings.push(format!(
                    "slots waited {} at p99 for one of the {} connections to come free (the \
                     latencies above include that): the server did not keep up, or more \
                     connections are needed",
                    units::time(self.send_delay.p99_us),
                    self.concurrency
                ));
            }
        }
        if let Some(rate) = self.intended_rate {
            // A short run ends at its last slot, which lies one period before its full time.
            let attempted = self.attempts as f64 / self.elapsed_seconds.max(1e-9);
            if self.attempts > 100 && attempted < 0.95 * rate {
                warnings.push(format!(
                    "the intended rate of {}/s was not reached: {}/s were",
                    units::number(rate.round() as u64),
                    units::number(attempted.round() as u64),
                ));
            }
        }
        if self.generator_busy > BUSY && self.attempts > 1_000 {
            warnings.push(format!(
                "a thread of the generator was busy {:.0} % of the time: the figures are the \
                 generator's as much as the server's. Give it more threads (-t), if there are \
                 free cores",
                100.0 * self.generator_busy
            ));
        }
        if self.warm_up.is_some() && self.attempts == 0 {
            warnings.push("the run ended in its warm-up: nothing was counted".to_owned());
        }
        if self.sent > 0 && self.refused >= self.sent {
            warnings.push(
                "every order was refused, so nothing was bought or sold out: see the codes. Are \
                 the products defined (--stock defines them), and is the sale open?"
                    .to_owned(),
            );
        }
        if let Some(idle) = self.idle.as_ref().filter(|idle| idle.opened < idle.wanted) {
            warnings.push(format!(
                "{} of {} idle connections could not be made: {}",
                units::number(idle.wanted - idle.opened),
                units::number(idle.wanted),
                idle.failure.as_deref().unwrap_or("the run was stopped")
            ));
        }
        if self.given_up > 0 {
            warnings.push(format!(
                "{} attempts found no free connection in time and were given up",
                units::number(self.given_up)
            ));
        }
        if self.unsent > 0 {
            warnings.push(format!(
                "{} slots of the schedule were never sent; they count as errors",
                units::number(self.unsent)
            ));
        }
        if jobs_dropped > 0 {
            warnings.push(format!(
                "{} payments, cancels, retries or looks were dropped at the end",
                units::number(jobs_dropped)
            ));
        }
        warnings
    }
}
