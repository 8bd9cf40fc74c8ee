//! What the metrics page says.

use super::http::Client;
use std::net::SocketAddr;

/// A page.
pub struct Metrics(pub String);

impl Metrics {
    /// The page of now.
    pub fn of(admin: SocketAddr) -> Self {
        let answer = Client::connect(admin).call("GET", "/metrics", None, None);
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(answer.text)
    }

    /// The values of a metric, over all of its labels.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let values = self.found(name);
        assert!(!values.is_empty(), "no {name} in:\n{}", self.0);
        values
    }

    /// The same; none when the page does not have it, or not yet.
    pub fn found(&self, name: &str) -> Vec<f64> {
        let is_it = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse().ok());
        self.0.lines().filter(is_it).filter_map(value).collect()
    }

    /// Their sum.
    pub fn sum(&self, name: &str) -> f64 {
        self.values(name).iter().sum()
    }

    /// The largest of them.
    pub fn max(&self, name: &str) -> f64 {
        self.values(name).into_iter().fold(f64::MIN, f64::max)
    }
}
