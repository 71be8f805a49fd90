//! What a run of the load generator found.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadReport {
    /// Requests whose reply came back whole and right.
    pub requests: u64,
    /// Bytes of requests that were sent.
    pub bytes_sent: u64,
    /// Bytes of replies that were checked.
    pub bytes_received: u64,
    /// Replies that differed from what was expected.
    pub mismatches: u64,
    /// Connections that were established.
    pub connections: u64,
    /// Opens that failed, or could not be begun.
    pub connect_failures: u64,
    /// Connections that the peer or a time-out ended before their work was done.
    pub broken: u64,
    /// Wall-clock seconds from the first open to the last reply.
    pub seconds: f64,
    /// Requests a second over that time.
    pub requests_per_second: f64,
    /// Connections a second that were established.
    pub connections_per_second: f64,
    /// What was sent, in bits a second.
    pub sent_bits_per_second: f64,
    /// What came and was right, in bits a second.
    pub received_bits_per_second: f64,
    /// Time from a request's write to the last byte of its reply.
    pub latency: LatencySummary,
    /// All such times, in nanoseconds, of which `latency` is the summary.
    #[serde(skip)]
    pub latencies: Latencies,
}

impl LoadReport {
    /// Adds what another shard of the same run found.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            requests,
            bytes_sent,
            bytes_received,
            mismatches,
            connections,
            connect_failures,
            broken,
            seconds,
            requests_per_second: _,
            connections_per_second: _,
            sent_bits_per_second: _,
            received_bits_per_second: _,
            latency: _,
            latencies,
        } = other;
        self.requests += requests;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
        self.mismatches += mismatches;
        self.connections += connections;
        self.connect_failures += connect_failures;
        self.broken += broken;
        self.latencies.merge(latencies);
        self.latency = self.latencies.summary();
        let seconds = self.seconds.max(*seconds);
        *self = rates(core::mem::take(self), seconds);
    }
}

/// Times in nanoseconds, as a histogram that others can be added to.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Option<Box<Histogram<u64>>>);

impl Latencies {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self(Some(Box::new(histogram.clone())))
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (_, None) => {}
            (Some(ours), Some(theirs)) => {
                // Fails only for times beyond the bounds, which are the same everywhere.
                let _ = ours.add(theirs.as_ref());
            }
            (ours, theirs) => ours.clone_from(theirs),
        }
    }

    /// The percentiles.
    pub fn summary(&self) -> LatencySummary {
        self.0
            .as_deref()
            .map_or_else(LatencySummary::default, LatencySummary::of)
    }
}

/// The report with its rates over so many seconds.
pub(crate) fn rates(mut report: LoadReport, seconds: f64) -> LoadReport {
    let per_second = |count: u64| {
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    };
    report.requests_per_second = per_second(report.requests);
    report.connections_per_second = per_second(report.connections);
    report.sent_bits_per_second = per_second(report.bytes_sent) * 8.0;
    report.received_bits_per_second = per_second(report.bytes_received) * 8.0;
    report.seconds = seconds;
    report
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LatencySummary {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl LatencySummary {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}
