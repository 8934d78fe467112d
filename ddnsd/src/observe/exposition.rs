//! The Prometheus text format, version 0.0.4. In: families of metrics with their samples. Out: a
//! text. Pure.

use crate::counters::{BUCKETS, Reading};
use std::fmt::{Display, Write as _};

/// Text under construction. A family's samples follow it directly.
#[derive(Default)]
pub(super) struct Exposition(String);

/// The samples of one family.
pub(super) struct MetricFamily<'a> {
    text: &'a mut String,
    name: &'a str,
}

/// Name and value of each label.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// A number that only grows; its name ends with `_total`.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> MetricFamily<'a> {
        self.family(name, help, "counter")
    }

    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> MetricFamily<'a> {
        self.family(name, help, "gauge")
    }

    /// Durations in seconds; its name ends with `_seconds`.
    pub(super) fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> MetricFamily<'a> {
        self.family(name, help, "histogram")
    }

    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> MetricFamily<'a> {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // writing to a String cannot fail
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        MetricFamily { text: &mut self.0, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl MetricFamily<'_> {
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    pub(super) fn durations(&mut self, labels: Labels<'_>, reading: &Reading) {
        for (bound, count) in BUCKETS.iter().zip(reading.at_most) {
            self.line("_bucket", labels, Some(&bound.as_secs_f64().to_string()), count);
        }
        self.line("_bucket", labels, Some("+Inf"), reading.count);
        self.line("_sum", labels, None, reading.sum.as_secs_f64());
        self.line("_count", labels, None, reading.count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: impl Display) {
        let text = &mut *self.text;
        let _ = write!(text, "{}{suffix}", self.name);
        let labels = labels.iter().copied().chain(le.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in labels {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Histogram;
    use std::time::Duration;

    #[test]
    fn labels_and_help_are_escaped() {
        let mut text = Exposition::default();
        text.gauge("x", "a\\b\nc").sample(&[("l", "q\"\\\n"), ("m", "ü")], 1);
        let expected = "# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l=\"q\\\"\\\\\\n\",m=\"ü\"} 1\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(2_500));
        histogram.record(Duration::from_mins(1));
        let mut text = Exposition::default();
        text.histogram("x_seconds", "h").durations(&[("a", "b")], &histogram.read());
        let text = text.into_text();
        for line in [
            "x_seconds_bucket{a=\"b\",le=\"0.001\"} 0\n",
            "x_seconds_bucket{a=\"b\",le=\"0.0025\"} 1\n",
            "x_seconds_bucket{a=\"b\",le=\"30\"} 1\n",
            "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 2\n",
            "x_seconds_sum{a=\"b\"} 60.0025\n",
            "x_seconds_count{a=\"b\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
