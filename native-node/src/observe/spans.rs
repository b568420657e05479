//! How long things took: a count, a sum, the shortest, the longest, and quantiles good to a fifth, in fixed memory.

use std::time::Duration;

/// Four buckets for each doubling, from one microsecond to over an hour.
const BUCKETS: usize = 132;

/// See the module.
#[derive(Clone, Debug)]
pub struct Spans {
    pub count: u64,
    pub sum: Duration,
    /// Zero of none, as the longest.
    pub shortest: Duration,
    pub longest: Duration,
    buckets: [u64; BUCKETS],
}

impl Default for Spans {
    fn default() -> Spans {
        let none = Duration::ZERO;
        Spans { count: 0, sum: none, shortest: none, longest: none, buckets: [0; BUCKETS] }
    }
}

impl Spans {
    pub fn add(&mut self, span: Duration) {
        self.shortest = if self.count == 0 { span } else { self.shortest.min(span) };
        self.count += 1;
        self.sum += span;
        self.longest = self.longest.max(span);
        self.buckets[bucket(span)] += 1;
    }

    /// What `per_mille` of a thousand spans did not exceed; zero of none.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (at, many) in self.buckets.iter().enumerate() {
            seen += many;
            if seen >= rank && *many > 0 {
                return upper(at).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

/// Microseconds below 4 have buckets of their own; above, the two bits behind the leading one choose among four.
fn bucket(span: Duration) -> usize {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    if micros < 4 {
        return micros as usize;
    }
    let exponent = micros.ilog2() as usize;
    let quarter = (micros >> (exponent - 2)) as usize & 3;
    (exponent * 4 - 4 + quarter).min(BUCKETS - 1)
}

/// The end of a bucket.
fn upper(bucket: usize) -> Duration {
    if bucket < 4 {
        return Duration::from_micros(bucket as u64 + 1);
    }
    let (exponent, quarter) = ((bucket + 4) / 4, (bucket % 4) as u64);
    Duration::from_micros((5 + quarter) << (exponent - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for micros in (0..5_000).chain([1 << 20, (1 << 31) - 1, 3_600_000_000]) {
            let span = Duration::from_micros(micros);
            let at = bucket(span);
            assert!(span < upper(at), "{micros} us is in bucket {at}, which ends at {:?}", upper(at));
            assert!(at == 0 || span >= upper(at - 1), "{micros} us is in bucket {at}, which begins later");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near_what_they_should_be() {
        let mut spans = Spans::default();
        assert_eq!(spans.quantile(500), Duration::ZERO);
        for millis in 1..=100 {
            spans.add(Duration::from_millis(millis));
        }
        for (per_mille, millis) in [(500, 50), (900, 90), (990, 99)] {
            let found = spans.quantile(per_mille).as_millis() as i64;
            assert!((found - millis).abs() * 5 <= millis, "{found} ms is far from {millis} ms");
        }
        assert_eq!((spans.count, spans.longest), (100, Duration::from_millis(100)));
        assert_eq!(spans.quantile(1000), Duration::from_millis(100));
    }
}
