//! What a boot begins with: the node's settings, what its disk held, the entropy it was given and the time it was.
//! A live node and a replay make their machine from it in the same way, by [`Beginning::boot`].

use super::coded::{Coded, fields};
use bytes::Bytes;
use glasshouse_core::api::storage::{BrokerImage, Cut, PartitionImage, SegmentInfo};
use glasshouse_core::broker::Broker;
use glasshouse_core::broker::config::{BrokerConfig, Settings};
use glasshouse_core::codec::{Reader, Result, Writer};
use glasshouse_core::id::{KeeperId, NodeId, TopicPartition};
use glasshouse_core::keeper::{self, Boot, Keeper};
use glasshouse_core::machine::Effects;
use glasshouse_core::node::Effect;
use glasshouse_core::nodes::Node;
use glasshouse_core::quorum::Quorum;
use glasshouse_core::record::epoch_cache::EpochCache;
use glasshouse_core::rng::Rng;
use glasshouse_core::rules::Rules;
use glasshouse_core::time::Now;
use glasshouse_core::zab;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    pub node: NodeId,
    pub entropy: u64,
    pub now: Now,
    pub what: What,
}

/// The machine's own settings, and what its disk held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Keeper(Box<keeper::Config>, Boot),
    Broker(Box<BrokerConfig>, BrokerImage),
}

impl Beginning {
    /// The machine; what it wants at once is in `fx`.
    pub fn boot(self, fx: &mut Effects<Effect>) -> Node {
        let mut entropy = Rng::at(&[self.entropy]);
        match self.what {
            What::Keeper(config, boot) => Node::Keeper(Box::new(Keeper::recover(*config, boot, entropy, self.now, fx))),
            What::Broker(config, image) => {
                Node::Broker(Box::new(Broker::recover(*config, image, entropy.next(), self.now, fx)))
            }
        }
    }
}

impl Coded for Beginning {
    fn put(&self, to: &mut Writer) {
        self.node.put(to);
        self.entropy.put(to);
        self.now.put(to);
        match &self.what {
            What::Keeper(config, boot) => {
                to.u8(0);
                config.put(to);
                boot.put(to);
            }
            What::Broker(config, image) => {
                to.u8(1);
                config.put(to);
                image.put(to);
            }
        }
    }

    fn get(from: &mut Reader) -> Result<Beginning> {
        let (node, entropy, now) = (Coded::get(from)?, Coded::get(from)?, Coded::get(from)?);
        let what = match from.u8()? {
            0 => What::Keeper(Box::new(Coded::get(from)?), Coded::get(from)?),
            1 => What::Broker(Box::new(Coded::get(from)?), Coded::get(from)?),
            _ => return from.malformed("a kind of node"),
        };
        Ok(Beginning { node, entropy, now, what })
    }
}

// ---- keepers -------------------------------------------------------------------------------------------------------

fields!(Boot { accepted, current, snapshot, txns });

impl Coded for keeper::Config {
    fn put(&self, to: &mut Writer) {
        // Taken apart by name, so that a new setting cannot be forgotten here.
        let keeper::Config {
            zab,
            session_timeout_min,
            session_timeout_max,
            snap_count,
            snap_retain,
            snapshot_piece,
            expiry_interval,
            reaper_interval,
            ttl_enabled,
            words,
            client_port,
            members,
        } = self;
        zab.put(to);
        session_timeout_min.put(to);
        session_timeout_max.put(to);
        to.u32(*snap_count);
        to.u32(*snap_retain);
        to.u32(*snapshot_piece);
        expiry_interval.put(to);
        reaper_interval.put(to);
        to.bool(*ttl_enabled);
        words.iter().map(|word| Bytes::copy_from_slice(word)).collect::<Vec<Bytes>>().put(to);
        to.u16(*client_port);
        members.put(to);
    }

    fn get(from: &mut Reader) -> Result<keeper::Config> {
        let mut config = keeper::Config::new(Coded::get(from)?);
        config.session_timeout_min = Coded::get(from)?;
        config.session_timeout_max = Coded::get(from)?;
        config.snap_count = from.u32()?;
        config.snap_retain = from.u32()?;
        config.snapshot_piece = from.u32()?;
        config.expiry_interval = Coded::get(from)?;
        config.reaper_interval = Coded::get(from)?;
        config.ttl_enabled = from.bool()?;
        let words: Vec<Bytes> = Coded::get(from)?;
        for word in words {
            let Ok(word) = <[u8; 4]>::try_from(&word[..]) else { return from.malformed("a word of four letters") };
            config.words.insert(word);
        }
        config.client_port = from.u16()?;
        config.members = Coded::get(from)?;
        Ok(config)
    }
}

impl Coded for zab::Config {
    fn put(&self, to: &mut Writer) {
        self.me.put(to);
        self.voters.voters().collect::<Vec<KeeperId>>().put(to);
        self.observers.iter().copied().collect::<Vec<KeeperId>>().put(to);
        self.tick.put(to);
        to.u32(self.init_limit);
        to.u32(self.sync_limit);
        self.finalize_wait.put(to);
        self.max_notification_interval.put(to);
        to.u32(self.commit_log_count);
        self.disk_diff_max_bytes.put(to);
        to.u32(self.load_bytes);
        to.u32(self.counter_limit);
        self.rules.put(to);
    }

    fn get(from: &mut Reader) -> Result<zab::Config> {
        let me = Coded::get(from)?;
        let voters: Vec<KeeperId> = Coded::get(from)?;
        let observers: Vec<KeeperId> = Coded::get(from)?;
        Ok(zab::Config {
            me,
            voters: Quorum::majority_of(voters),
            observers: observers.into_iter().collect(),
            tick: Coded::get(from)?,
            init_limit: from.u32()?,
            sync_limit: from.u32()?,
            finalize_wait: Coded::get(from)?,
            max_notification_interval: Coded::get(from)?,
            commit_log_count: from.u32()?,
            disk_diff_max_bytes: Coded::get(from)?,
            load_bytes: from.u32()?,
            counter_limit: from.u32()?,
            rules: Coded::get(from)?,
        })
    }
}

/// Those that differ from the default, by name.
impl Coded for Rules {
    fn put(&self, to: &mut Writer) {
        let changed: Vec<(String, String)> =
            self.changed().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        changed.put(to);
    }

    fn get(from: &mut Reader) -> Result<Rules> {
        let mut rules = Rules::default();
        for (name, value) in Vec::<(String, String)>::get(from)? {
            if rules.set(&name, &value).is_err() {
                return from.malformed("a rule that is known here");
            }
        }
        Ok(rules)
    }
}

// ---- brokers -------------------------------------------------------------------------------------------------------

fields!(BrokerConfig { number, broker_id, rack, host, port, keepers, settings, rules, cluster });

/// By Kafka's names.
impl Coded for Settings {
    fn put(&self, to: &mut Writer) {
        let all = Settings::NAMES.iter().map(|name| ((*name).to_owned(), self.get(name).unwrap_or_default()));
        all.collect::<Vec<(String, String)>>().put(to);
    }

    fn get(from: &mut Reader) -> Result<Settings> {
        let mut settings = Settings::default();
        for (name, value) in Vec::<(String, String)>::get(from)? {
            if settings.set(&name, &value).is_err() {
                return from.malformed("a setting that is known here");
            }
        }
        Ok(settings)
    }
}

impl Coded for BrokerImage {
    fn put(&self, to: &mut Writer) {
        self.broker.put(to);
        self.cluster.put(to);
        to.bool(self.clean);
        to.u32(u32::try_from(self.partitions.len()).expect("partitions below 4 G"));
        for (name, image) in &self.partitions {
            name.put(to);
            image.put(to);
        }
        self.cuts.put(to);
    }

    fn get(from: &mut Reader) -> Result<BrokerImage> {
        let (broker, cluster, clean) = (Coded::get(from)?, Coded::get(from)?, from.bool()?);
        let partitions: Vec<(TopicPartition, PartitionImage)> = Coded::get(from)?;
        let partitions = partitions.into_iter().collect();
        Ok(BrokerImage { broker, cluster, clean, partitions, cuts: Coded::get(from)? })
    }
}

fields!(PartitionImage {
    topic_id,
    log_start,
    log_end,
    segments,
    epochs,
    producers,
    high_watermark,
    recovery_point,
    damaged
});
fields!(SegmentInfo { base, bytes, max_timestamp });
fields!(Cut { file, at, bytes, why });

impl Coded for EpochCache {
    fn put(&self, to: &mut Writer) {
        self.entries().to_vec().put(to);
    }

    fn get(from: &mut Reader) -> Result<EpochCache> {
        Vec::get(from).map(EpochCache::from_entries)
    }
}
