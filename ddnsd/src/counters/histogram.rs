//! Durations in fixed buckets. Recording costs two atomic additions.

use super::Counter;
use std::time::Duration;

/// Upper bounds of the buckets.
pub const BUCKETS: [Duration; 16] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Durations, each counted in the first bucket that holds it.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS.len()],
    /// Longer than every bucket.
    longer: Counter,
    sum_nanos: Counter,
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many durations are at most as long as each of [`BUCKETS`].
    pub at_most: [u64; BUCKETS.len()],
    /// How many durations there are. It matches `at_most`, whatever is recorded meanwhile.
    pub count: u64,
    pub sum: Duration,
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let index = BUCKETS.partition_point(|bound| *bound < duration);
        self.buckets.get(index).unwrap_or(&self.longer).add_one();
        self.sum_nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn read(&self) -> Reading {
        let mut count = 0;
        let at_most = self.buckets.each_ref().map(|bucket| {
            count += bucket.get();
            count
        });
        let count = count + self.longer.get();
        Reading { at_most, count, sum: Duration::from_nanos(self.sum_nanos.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_each_bucket_that_is_not_shorter() {
        let histogram = Histogram::default();
        for duration in [Duration::ZERO, BUCKETS[1], BUCKETS[1] + Duration::from_nanos(1)] {
            histogram.record(duration);
        }
        histogram.record(Duration::from_secs(31));
        let read = histogram.read();
        assert_eq!((&read.at_most[..4], read.at_most[15]), (&[1, 2, 3, 3][..], 3));
        assert_eq!((read.count, read.sum.as_nanos()), (4, 31_001_000_001));
    }

    #[test]
    fn buckets_grow() {
        assert!(BUCKETS.is_sorted());
    }
}
