//! Writes Prometheus' text format, 0.0.4; or the same figures as ZooKeeper's word `mntr` has them.

use super::talks::mean;
use crate::observe::spans::Spans;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// A report under way.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
    /// Whether it is written as lines of `mntr`, which have no labels.
    words: bool,
}

impl Report {
    /// Lines of `mntr`.
    pub fn words() -> Report {
        Report { text: String::new(), words: true }
    }

    pub fn gauge(&mut self, name: &str, value: impl Display) {
        self.kind(name, "gauge");
        self.line(name, &[], value);
    }

    pub fn counter(&mut self, name: &str, value: impl Display) {
        self.kind(name, "counter");
        self.line(name, &[], value);
    }

    /// One line for each set of labels; nothing at all if there is none.
    pub fn gauges<const N: usize, V: Display>(
        &mut self,
        name: &str,
        rows: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) {
        self.rows(name, "gauge", rows);
    }

    /// As [`gauges`](Report::gauges).
    pub fn counters<const N: usize, V: Display>(
        &mut self,
        name: &str,
        rows: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) {
        self.rows(name, "counter", rows);
    }

    /// Quantiles, count and sum, in units of which a second has `per_second`.
    pub fn summary(&mut self, name: &str, spans: &Spans, per_second: f64) {
        if self.words {
            return self.summary_in_words(name, spans);
        }
        self.kind(name, "summary");
        self.spans(name, &[], spans, per_second);
    }

    /// As ZooKeeper's `AvgMinMaxPercentileCounter` has it: whole milliseconds, but for the mean.
    fn summary_in_words(&mut self, name: &str, spans: &Spans) {
        let whole = |micros: u128| micros.div_ceil(1000);
        self.line(&format!("avg_{name}"), &[], format!("{:?}", mean(spans.sum, spans.count)));
        self.line(&format!("min_{name}"), &[], spans.shortest.as_millis());
        self.line(&format!("max_{name}"), &[], whole(spans.longest.as_micros()));
        self.line(&format!("cnt_{name}"), &[], spans.count);
        self.line(&format!("sum_{name}"), &[], whole(spans.sum.as_micros()));
        for (quantile, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
            self.line(&format!("{quantile}_{name}"), &[], whole(spans.quantile(per_mille).as_micros()));
        }
    }

    /// One for each value of a label; nothing at all if there is none.
    pub fn summaries(
        &mut self,
        name: &str,
        label: &'static str,
        rows: &BTreeMap<&'static str, Spans>,
        per_second: f64,
    ) {
        if !rows.is_empty() {
            self.kind(name, "summary");
        }
        for (value, spans) in rows {
            self.spans(name, &[(label, (*value).to_owned())], spans, per_second);
        }
    }

    fn spans(&mut self, name: &str, labels: &[(&'static str, String)], spans: &Spans, per_second: f64) {
        for (quantile, per_mille) in [("0.5", 500), ("0.9", 900), ("0.99", 990)] {
            let value = spans.quantile(per_mille).as_secs_f64() * per_second;
            self.line(name, &[labels, &[("quantile", quantile.to_owned())]].concat(), value);
        }
        self.line(&format!("{name}_count"), labels, spans.count);
        self.line(&format!("{name}_sum"), labels, spans.sum.as_secs_f64() * per_second);
    }

    pub fn finish(self) -> String {
        self.text
    }

    fn rows<const N: usize, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        rows: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) {
        for (at, (labels, value)) in rows.into_iter().enumerate() {
            if at == 0 {
                self.kind(name, kind);
            }
            self.line(name, &labels, value);
        }
    }

    fn kind(&mut self, name: &str, kind: &str) {
        if self.words {
            return;
        }
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&'static str, String)], value: impl Display) {
        if self.words {
            if labels.is_empty() && !name.starts_with("glasshouse_") {
                let _ = writeln!(self.text, "zk_{name}\t{value}");
            }
            return;
        }
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}
