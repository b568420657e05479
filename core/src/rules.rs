//! Which generation of the protocols runs: every switchable rule, with its KIP or JIRA and the schedule it is known by.
//!
//! `Rules::default()` is Kafka 3.9 and ZooKeeper 3.9 with the known fixes, and with what 3.9 still has open mended where
//! a promise is broken. A rule is read in one pure decision and nowhere else.

use core::fmt;

/// Declares the rules: an enum for each, with its values' names, and a table for `cargo sim --rules`.
macro_rules! rules {
    ($( $(#[$doc:meta])* $field:ident: $kind:ident { $safe:ident = $safe_name:literal, $( (also $alt:ident = $alt_name:literal) )*
        $( $old:ident = $old_name:literal, $issue:literal, $wrong:literal; )+ } )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $kind { #[default] $safe, $($alt,)* $($old),+ }
            impl fmt::Display for $kind {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(match self { $kind::$safe => $safe_name, $($kind::$alt => $alt_name,)* $($kind::$old => $old_name),+ })
                }
            }
        )+

        /// The rules of one world. Each field is documented at its type.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct Rules { $(pub $field: $kind),+ }

        /// One historical value of one rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Historical {
            pub rule: &'static str,
            pub value: &'static str,
            /// Its JIRA or KIP.
            pub issue: &'static str,
            /// What goes wrong under it, in one sentence.
            pub wrong: &'static str,
        }

        /// Every historical value of every rule.
        pub const HISTORICAL: &[Historical] = &[
            $($(Historical { rule: stringify!($field), value: $old_name, issue: $issue, wrong: $wrong },)+)+
        ];

        impl Rules {
            /// Sets one rule by its names, as `cargo sim --rule NAME=VALUE` and a scenario do.
            ///
            /// # Errors
            /// A sentence that names what was expected.
            pub fn set(&mut self, rule: &str, value: &str) -> Result<(), String> {
                match rule {
                    $(stringify!($field) => {
                        self.$field = match value {
                            $safe_name => $kind::$safe,
                            $($alt_name => $kind::$alt,)*
                            $($old_name => $kind::$old,)+
                            _ => return Err(format!("rule {rule} is one of {}, not \"{value}\"",
                                [$safe_name, $($alt_name,)* $($old_name),+].join(", "))),
                        };
                        Ok(())
                    })+
                    _ => Err(format!("no rule is called \"{rule}\"; there are {}", [$(stringify!($field)),+].join(", "))),
                }
            }

            /// Every rule that differs from the default, as (name, value).
            pub fn changed(&self) -> Vec<(&'static str, String)> {
                let mut changed = Vec::new();
                $(if self.$field != $kind::default() { changed.push((stringify!($field), self.$field.to_string())); })+
                changed
            }
        }
    };
}

rules! {
    /// To what a follower cuts its log before it follows a new leader (KIP-101, KIP-279; protocol.md C.6, K1 to K3).
    /// `leader-epoch` learns of a divergence from the fetch itself (Kafka 2.7 and later); `leader-epoch-query` asks
    /// OffsetsForLeaderEpoch first (2.0 to 2.6) and is just as safe; `offset-only` asks too, and is told less.
    truncation: Truncation {
        LeaderEpoch = "leader-epoch", (also LeaderEpochQuery = "leader-epoch-query")
        HighWatermark = "high-watermark", "KIP-101",
            "a follower cuts its log at its own high watermark, which lags: elected before it fetched again, it loses committed records";
        OffsetOnly = "offset-only", "KIP-279",
            "the leader answers OffsetsForLeaderEpoch without the epoch: after two quick elections a follower keeps records of an epoch the leader never had";
    }
    /// How a leader names the members of an ISR it proposes (KIP-903; K14). ZooKeeper mode never got their epochs, and 3.9
    /// is the historical value here.
    isr_members: IsrMembers {
        WithEpoch = "with-epoch",
        ById = "by-id", "KIP-903",
            "an ISR names its members by id alone: a broker that came back with an empty disk joins by a proposal from before, and is elected without a record";
    }
    /// When a follower may join the ISR (KAFKA-7128; K5).
    isr_join: IsrJoin {
        EpochStart = "epoch-start",
        HighWatermark = "high-watermark", "KAFKA-7128",
            "a follower joins the ISR at a new leader's lagging high watermark: elected next, it lacks committed records";
    }
    /// What a learner has made durable when it acknowledges NEWLEADER (ZOOKEEPER-3911, ZOOKEEPER-4643; Z2, Z3).
    newleader_ack: NewleaderAck {
        AfterHistoryAndEpoch = "after-history-and-epoch",
        BeforeHistory = "before-history", "ZOOKEEPER-3911",
            "a learner acknowledges NEWLEADER before the leader's history is on its disk: a committed write is lost when both crash";
        EpochFirst = "epoch-first", "ZOOKEEPER-4643",
            "a learner writes currentEpoch before the history: after a crash it wins the election with a shorter log and cuts the others";
    }
    /// What a follower waits for before it acknowledges a proposal (Z17: `forceSync=no`).
    proposal_ack: ProposalAck {
        AfterSync = "after-sync",
        BeforeSync = "before-sync", "ZooKeeper forceSync=no",
            "a follower acknowledges a proposal that is only in its page cache: a power loss of a quorum loses a committed write";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_set_by_name_and_refuse_what_they_do_not_know() {
        let mut rules = Rules::default();
        assert_eq!(rules.set("truncation", "high-watermark"), Ok(()));
        assert_eq!(rules.changed(), [("truncation", "high-watermark".to_owned())]);
        assert!(
            rules
                .set("truncation", "never")
                .unwrap_err()
                .contains("leader-epoch, leader-epoch-query, high-watermark, offset-only")
        );
        assert!(rules.set("colour", "red").unwrap_err().contains("no rule is called"));
        for old in HISTORICAL {
            assert_eq!(Rules::default().set(old.rule, old.value), Ok(()));
        }
    }
}
