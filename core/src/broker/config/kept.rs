//! Settings of a topic that are kept with the others and obeyed by nobody here: what of them can be read. The ranges are
//! those of Apache's LogConfig.

/// What text a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int(i32, i32),
    /// At least this.
    Long(i64),
    /// Between 0 and 1.
    Ratio,
    OneOf(&'static [&'static str]),
    /// `*`, or partition:broker and so on (ThrottledReplicaListValidator).
    Replicas,
    /// A version of Kafka (MetadataVersion.fromVersionString).
    Version,
}

const COMPRESSION: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Settings of a topic that Kafka 3.9 knows and that change nothing that a client could see here, but for what
/// ARCHITECTURE.md says of them.
const KEPT: [(&str, Kind); 22] = [
    ("compression.gzip.level", Kind::Int(-1, 9)),
    ("compression.lz4.level", Kind::Int(1, 17)),
    ("compression.type", Kind::OneOf(COMPRESSION)),
    ("compression.zstd.level", Kind::Int(-131_072, 22)),
    ("delete.retention.ms", Kind::Long(0)),
    ("file.delete.delay.ms", Kind::Long(0)),
    ("flush.messages", Kind::Long(1)),
    ("flush.ms", Kind::Long(0)),
    ("follower.replication.throttled.replicas", Kind::Replicas),
    ("index.interval.bytes", Kind::Int(0, i32::MAX)),
    ("leader.replication.throttled.replicas", Kind::Replicas),
    ("local.retention.bytes", Kind::Long(-2)),
    ("local.retention.ms", Kind::Long(-2)),
    (MAX_LAG, Kind::Long(1)),
    ("message.downconversion.enable", Kind::Bool),
    ("message.format.version", Kind::Version),
    ("min.cleanable.dirty.ratio", Kind::Ratio),
    (MIN_LAG, Kind::Long(0)),
    ("preallocate", Kind::Bool),
    ("remote.log.delete.on.disable", Kind::Bool),
    ("segment.index.bytes", Kind::Int(4, i32::MAX)),
    ("segment.jitter.ms", Kind::Long(0)),
];

/// Two that must fit each other (LogConfig.validateValues).
pub(super) const MIN_LAG: &str = "min.compaction.lag.ms";
pub(super) const MAX_LAG: &str = "max.compaction.lag.ms";

/// Those that would have to change something, with the one value that asks for nothing.
const REFUSED: [(&str, &str); 3] = [
    ("message.timestamp.type", "CreateTime"),
    ("remote.storage.enable", "false"),
    ("remote.log.copy.disable", "false"),
];

/// Every version with how many intermediate ones it had (`2.8-IV0`, `2.8-IV1`).
const VERSIONS: [(&str, u32); 29] = [
    ("0.8.0", 0),
    ("0.8.1", 0),
    ("0.8.2", 0),
    ("0.9.0", 0),
    ("0.10.0", 2),
    ("0.10.1", 3),
    ("0.10.2", 1),
    ("0.11.0", 3),
    ("1.0", 1),
    ("1.1", 1),
    ("2.0", 2),
    ("2.1", 3),
    ("2.2", 2),
    ("2.3", 2),
    ("2.4", 2),
    ("2.5", 1),
    ("2.6", 1),
    ("2.7", 3),
    ("2.8", 2),
    ("3.0", 2),
    ("3.1", 1),
    ("3.2", 1),
    ("3.3", 4),
    ("3.4", 1),
    ("3.5", 3),
    ("3.6", 3),
    ("3.7", 5),
    ("3.8", 1),
    ("3.9", 1),
];

/// Whether a topic may be given this setting, which is none of those that are obeyed.
///
/// # Errors
/// INVALID_CONFIG's sentence.
pub(super) fn check(name: &str, value: &str) -> Result<(), &'static str> {
    let value = value.trim();
    if let Some((_, nothing)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let asks_for_nothing = value == *nothing || *nothing == "false" && value.eq_ignore_ascii_case(nothing);
        return if asks_for_nothing { Ok(()) } else { Err("a setting asks for what is not served here") };
    }
    match KEPT.iter().find(|(kept, _)| *kept == name) {
        None => Err("no setting of a topic has that name"),
        Some((_, kind)) if kind.takes(value) && !(name == "compression.gzip.level" && value == "0") => Ok(()),
        Some(_) => Err(super::UNREADABLE),
    }
}

impl Kind {
    fn takes(self, text: &str) -> bool {
        match self {
            Kind::Bool => ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)),
            Kind::Int(least, most) => text.parse().is_ok_and(|number: i32| (least..=most).contains(&number)),
            Kind::Long(least) => text.parse().is_ok_and(|number: i64| number >= least),
            Kind::Ratio => is_ratio(text),
            Kind::OneOf(words) => words.contains(&text),
            Kind::Replicas => text == "*" || text.split(',').all(|item| is_replica(item.trim())),
            Kind::Version => is_version(text),
        }
    }
}

/// A decimal number between 0 and 1; one with an exponent, which Java takes as well, is none here.
fn is_ratio(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    match whole.trim_start_matches('0') {
        "" => is_number,
        "1" => is_number && fraction.bytes().all(|byte| byte == b'0'),
        _ => false,
    }
}

fn is_replica(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.is_empty() || text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// `2.8`, `2.8-IV1`, and `2.8.1`, of which only the release is looked at.
fn is_version(text: &str) -> bool {
    let wanted = if text.starts_with("0.") { 3 } else { 2 };
    let release = text.match_indices('.').nth(wanted - 1).map_or(text, |(at, _)| &text[..at]);
    let (release, between) = release.split_once("-IV").map_or((release, None), |(release, at)| (release, Some(at)));
    VERSIONS.iter().any(|(known, had)| {
        *known == release && between.is_none_or(|at| (0..*had).any(|number| number.to_string() == at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read() {
        let takes = |name: &str, values: &[&str]| {
            for value in values {
                assert_eq!(check(name, value), Ok(()), "{name}={value}");
            }
        };
        let refuses = |name: &str, values: &[&str]| {
            for value in values {
                assert_eq!(check(name, value), Err(super::super::UNREADABLE), "{name}={value}");
            }
        };
        takes("compression.type", &["producer", "zstd", " gzip "]);
        refuses("compression.type", &["banana", "ZSTD", "none", ""]);
        takes("compression.gzip.level", &["-1", "1", "9"]);
        refuses("compression.gzip.level", &["0", "10", "-2"]);
        takes("min.cleanable.dirty.ratio", &["0", "0.5", "1", "1.0", ".25", "1."]);
        refuses("min.cleanable.dirty.ratio", &["x", "1.01", "2", "-0.1", ".", ""]);
        takes("preallocate", &["true", "FALSE", "True"]);
        refuses("preallocate", &["yes", "1", ""]);
        takes("flush.messages", &["1", "9223372036854775807"]);
        refuses("flush.messages", &["0", "9223372036854775808", "one"]);
        takes("leader.replication.throttled.replicas", &["*", "", "0:1", "0:1, 1:2"]);
        refuses("leader.replication.throttled.replicas", &["0", "0:a", "*,0:1"]);
        takes("message.format.version", &["0.8.2", "0.10.1-IV2", "2.8", "2.8.1", "3.0-IV1"]);
        refuses("message.format.version", &["0.7", "0.10", "2.8-IV2", "9", "3"]);
        takes("remote.storage.enable", &["FALSE"]);
        assert_eq!(check("remote.storage.enable", "true"), Err("a setting asks for what is not served here"));
        assert_eq!(check("colour", "red"), Err("no setting of a topic has that name"));
    }
}
