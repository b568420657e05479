//! A broker's figures, under the names that the JMX exporter gives Kafka's MBeans (its `kafka-2_0_0.yml`, in lower case).

use super::report::Report;
use glasshouse_core::api::kafka::{ErrorCode, MetadataRequest};
use glasshouse_core::broker::Broker;
use glasshouse_core::broker::partition::Partition;
use glasshouse_core::note::broker::BrokerNote;
use glasshouse_core::note::controller::ControllerNote;

#[derive(Debug, Default)]
pub struct Counters {
    isr_shrinks: u64,
    isr_expands: u64,
    isr_refused: u64,
    elected_here: u64,
    truncations: u64,
    not_enough_replicas: u64,
    duplicates: u64,
    expired: u64,

    // As controller.
    elections: u64,
    unclean_elections: u64,
}

impl Counters {
    pub fn count_broker(&mut self, note: &BrokerNote) {
        match note {
            BrokerNote::IsrShrunk { .. } => self.isr_shrinks += 1,
            BrokerNote::IsrExpanded { .. } => self.isr_expands += 1,
            BrokerNote::IsrRefused { .. } => self.isr_refused += 1,
            BrokerNote::BecameLeader { .. } => self.elected_here += 1,
            BrokerNote::Truncated { .. } => self.truncations += 1,
            BrokerNote::NotEnoughReplicas { .. } => self.not_enough_replicas += 1,
            BrokerNote::DuplicateBatch { .. } => self.duplicates += 1,
            BrokerNote::SessionLost { .. } => self.expired += 1,
            _ => {}
        }
    }

    pub fn count_controller(&mut self, note: &ControllerNote) {
        match note {
            ControllerNote::Elected { .. } => self.elections += 1,
            ControllerNote::UncleanElection { .. } => {
                self.elections += 1;
                self.unclean_elections += 1;
            }
            _ => {}
        }
    }

    pub fn report(&self, broker: &Broker, report: &mut Report) {
        replicas(broker, report);
        logs(broker, report);
        controller(broker, report);
        let manager = "kafka_server_replicamanager_";
        report.counter(&format!("{manager}isrshrinks_total"), self.isr_shrinks);
        report.counter(&format!("{manager}isrexpands_total"), self.isr_expands);
        report.counter(&format!("{manager}failedisrupdates_total"), self.isr_refused);
        let stats = "kafka_controller_controllerstats_";
        report.counter(&format!("{stats}leaderelectionrateandtimems_count"), self.elections);
        report.counter(&format!("{stats}uncleanleaderelections_total"), self.unclean_elections);
        report.counter("kafka_server_sessionexpirelistener_zookeeperexpires_total", self.expired);
        // 3: running; 6: a controlled shutdown is under way; 1: starting (Kafka's BrokerState).
        let state = match (broker.is_shutting_down(), broker.is_registered()) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 1,
        };
        report.gauge("kafka_server_kafkaserver_brokerstate", state);
        let (produce, fetch) = broker.waiting();
        let waiting = [("Produce", produce), ("Fetch", fetch)];
        let waiting = waiting.map(|(what, many)| ([("delayedOperation", what.to_owned())], many));
        report.gauges("kafka_server_delayedoperationpurgatory_purgatorysize", waiting);
        let (sessions, partitions) = broker.fetch_sessions();
        let cache = "kafka_server_fetchsessioncache_numincrementalfetch";
        report.gauge(&format!("{cache}sessions"), sessions);
        report.gauge(&format!("{cache}partitionscached"), partitions);
        report.counter("glasshouse_became_leader_total", self.elected_here);
        report.counter("glasshouse_log_truncations_total", self.truncations);
        report.counter("glasshouse_not_enough_replicas_total", self.not_enough_replicas);
        report.counter("glasshouse_duplicate_batches_total", self.duplicates);
    }
}

fn in_sync(partition: &Partition) -> Option<usize> {
    partition.leader().map(|leader| leader.isr.members().len())
}

fn replicas(broker: &Broker, report: &mut Report) {
    let count = |is: &dyn Fn(&Partition) -> bool| broker.partitions().filter(|partition| is(partition)).count();
    let manager = |what: &str| format!("kafka_server_replicamanager_{what}");
    let under_replicated = |at: &Partition| in_sync(at).is_some_and(|isr| isr < at.replicas().len());
    let under_min = |at: &Partition| in_sync(at).is_some_and(|isr| isr < at.min_isr() as usize);
    let at_min = |at: &Partition| in_sync(at).is_some_and(|isr| isr == at.min_isr() as usize);
    report.gauge(&manager("partitioncount"), broker.partitions().count());
    report.gauge(&manager("leadercount"), count(&|at| at.leader().is_some()));
    report.gauge(&manager("underreplicatedpartitions"), count(&under_replicated));
    report.gauge(&manager("underminisrpartitioncount"), count(&under_min));
    report.gauge(&manager("atminisrpartitioncount"), count(&at_min));
    report.gauge(&manager("offlinereplicacount"), count(&|at| at.log.is_damaged()));
}

fn logs(broker: &Broker, report: &mut Report) {
    let of_each = |figure: fn(&Partition) -> i64| {
        broker.partitions().map(move |at| {
            let name = at.name();
            ([("topic", name.topic.to_string()), ("partition", name.partition.to_string())], figure(at))
        })
    };
    report.gauges("kafka_log_log_logendoffset", of_each(|at| at.log.end().0));
    report.gauges("kafka_log_log_logstartoffset", of_each(|at| at.log.start().0));
    report.gauges("kafka_log_log_numlogsegments", of_each(|at| at.log.segments().count() as i64));
    report.gauges("kafka_log_log_size", of_each(|at| at.log.segments().map(|segment| segment.bytes as i64).sum()));
    report.gauges("glasshouse_log_highwatermark", of_each(|at| at.log.high_watermark().0));
    report.gauges("glasshouse_log_durableoffset", of_each(|at| at.log.durable().0));
    report.gauges("glasshouse_partition_leaderepoch", of_each(|at| i64::from(at.leader_epoch().0)));
    let led = || broker.partitions().filter(|at| at.leader().is_some());
    let labels = |at: &Partition| {
        let name = at.name();
        [("topic", name.topic.to_string()), ("partition", name.partition.to_string())]
    };
    report.gauges("kafka_cluster_partition_replicascount", led().map(|at| (labels(at), at.replicas().len())));
    report
        .gauges("kafka_cluster_partition_insyncreplicascount", led().map(|at| (labels(at), in_sync(at).unwrap_or(0))));
    // How far a follower is behind what its leader last told it of: the high watermark is all that it knows.
    let behind = broker.partitions().filter(|at| at.follower().is_some());
    let lag = behind.map(|at| at.log.high_watermark() - at.log.end()).max().unwrap_or(0).max(0);
    report.gauge("kafka_server_replicafetchermanager_maxlag", lag);
}

/// What only the controller counts; zero elsewhere, as Kafka has it, so that a sum over all brokers is right.
fn controller(broker: &Broker, report: &mut Report) {
    let active = broker.controller_epoch().is_some();
    let name = |what: &str| format!("kafka_controller_kafkacontroller_{what}");
    report.gauge(&name("activecontrollercount"), u8::from(active));
    let (mut topics, mut partitions, mut offline, mut imbalanced) = (0, 0, 0, 0);
    if active {
        let (known, _) = broker.metadata().answer(&MetadataRequest { topics: None, ..MetadataRequest::default() }, 9);
        topics = known.topics.len();
        for partition in known.topics.iter().flat_map(|topic| &topic.partitions) {
            partitions += 1;
            offline += usize::from(partition.error != ErrorCode::NONE);
            imbalanced += usize::from(partition.replicas.first() != Some(&partition.leader));
        }
    }
    report.gauge(&name("globaltopiccount"), topics);
    report.gauge(&name("globalpartitioncount"), partitions);
    report.gauge(&name("offlinepartitionscount"), offline);
    report.gauge(&name("preferredreplicaimbalancecount"), imbalanced);
    report.gauge(&name("activebrokercount"), if active { broker.metadata().brokers().count() } else { 0 });
}
