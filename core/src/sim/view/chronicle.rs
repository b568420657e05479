//! What a view remembers of a run: the story, the tape, the last chain of causes, and what became of promised records.
//!
//! It is fed note by note and stays small; it decides nothing, and no node and no checker reads it.

use super::tell::{self, Weight};
use crate::id::{BrokerId, NodeId, SessionId, TopicPartition};
use crate::nodes::Node;
use crate::note::Note;
use crate::note::broker::BrokerNote;
use crate::note::client::ClientNote;
use crate::note::controller::ControllerNote;
use crate::note::keeper::KeeperNote;
use crate::note::zab::ZabNote;
use crate::ordered::{OrdMap, sort_by};
use crate::queue::Queue;
use crate::record::offset::Offset;
use crate::sim::scenario::{Action, ClientSpec, Scenario};
use crate::time::{Instant, Span};
use crate::view::{
    Act, BrokerView, CauseStep, Fate, KeeperView, MarkView, Place, RecordView, SpanKind, SpanView, StoryKind,
    StoryLine, TrackKind, TrackView,
};
use std::sync::Arc;

/// Lines kept of what matters, and of what happens all the time.
const LINES: usize = 120;
const CHATTER: usize = 5;
/// Steps of a chain of causes that are numbered.
const STEPS: usize = 4;
/// Ranges of promised records remembered for each partition: more than any view shows.
const RANGES: usize = 128;
/// How long truncated records are still shown.
const CUT_SHOWN: Span = Span::secs(6);

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Chronicle {
    names: Arc<OrdMap<NodeId, Arc<str>>>,
    lines: Queue<StoryLine>,
    chatter: Queue<StoryLine>,
    next_line: u64,
    chain: Vec<CauseStep>,

    up_since: OrdMap<NodeId, Instant>,
    /// Which broker has which id, and whose session is whose: of each broker the one that it registered with last.
    brokers: OrdMap<BrokerId, NodeId>,
    sessions: OrdMap<SessionId, NodeId>,
    /// Registrations that went, and when.
    gone: OrdMap<NodeId, Instant>,
    /// Machines as they were when they went down.
    pub keepers: OrdMap<NodeId, KeeperView>,
    pub brokers_down: OrdMap<NodeId, BrokerView>,

    ensemble: Reign,
    partitions: OrdMap<TopicPartition, History>,
    marks: Vec<MarkView>,
    /// The directions that were cut, or healed, by the newest act.
    ways: Vec<(NodeId, NodeId)>,
    /// Of records: told yes by now, and of these the ones that are gone.
    pub acknowledged: u64,
    pub lost: u64,
    pub writes: u64,
}

/// Who leads something, and who did.
#[derive(Clone, Debug, Default)]
pub struct Reign {
    pub spans: Vec<SpanView>,
    pub leader: Option<NodeId>,
    /// Since when `leader` is as it is.
    pub since: Instant,
    /// Somebody has led it.
    pub began: bool,
}

/// One partition's past.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub reign: Reign,
    /// Each epoch and where its leader's log ended when it began.
    begun: Vec<(i64, Offset)>,
    /// Promised offsets, from and up to but not including.
    promised: Queue<(Offset, Offset)>,
    lost: Queue<(Offset, Offset)>,
    /// What was cut from whose log, and when.
    cut: Vec<(NodeId, Instant, Vec<RecordView>)>,
    /// The first record was committed.
    pub committed: bool,
}

impl Reign {
    fn begin(&mut self, at: Instant, leader: Option<NodeId>, kind: SpanKind, label: Arc<str>) {
        if let Some(last) = self.spans.last_mut() {
            last.until.get_or_insert(at);
            if last.from == at {
                self.spans.pop();
            }
        }
        self.spans.push(SpanView { from: at, until: None, kind, label });
        self.began |= leader.is_some();
        (self.leader, self.since) = (leader, at);
    }

    fn ends(&mut self, at: Instant, leader: NodeId, label: &str) {
        if self.leader == Some(leader) {
            self.begin(at, None, SpanKind::Leaderless, label.into());
        }
    }
}

impl Chronicle {
    pub fn new(scenario: &Scenario) -> Chronicle {
        let mut ensemble = Reign::default();
        ensemble.begin(Instant::ZERO, None, SpanKind::Leaderless, "looking".into());
        Chronicle {
            names: Arc::new(client_names(scenario)),
            lines: Queue::new(),
            chatter: Queue::new(),
            next_line: 0,
            chain: Vec::new(),
            up_since: OrdMap::new(),
            brokers: OrdMap::new(),
            sessions: OrdMap::new(),
            gone: OrdMap::new(),
            keepers: OrdMap::new(),
            brokers_down: OrdMap::new(),
            ensemble,
            partitions: OrdMap::new(),
            marks: Vec::new(),
            ways: Vec::new(),
            acknowledged: 0,
            lost: 0,
            writes: 0,
        }
    }

    // What it is told.

    pub fn started(&mut self, at: Instant, node: NodeId) {
        self.up_since.insert(node, at);
        self.brokers_down.remove(&node);
        self.keepers.remove(&node);
    }

    /// A node's process ends; `machine` is what it was.
    pub fn stopped(&mut self, at: Instant, node: NodeId, why: &str, machine: Option<&Node>) {
        match machine {
            Some(Node::Broker(broker)) => {
                let mut last = super::nodes::broker(node, broker);
                last.controller = false;
                self.brokers_down.insert(node, last);
            }
            Some(Node::Keeper(keeper)) => {
                self.keepers.insert(node, super::nodes::keeper(keeper, at));
            }
            Some(Node::Client(_)) | None => {}
        }
        self.ensemble.ends(at, node, "looking");
        for history in self.partitions.values_mut() {
            history.reign.ends(at, node, "none");
        }
        if !matches!(why, "killed" | "without power") {
            self.line(at, node, StoryKind::Log, true, format!("{} stops: {why}.", self.name(node)));
        }
    }

    /// Somebody does something to the world.
    pub fn acted(&mut self, at: Instant, action: &Action) {
        let Some((act, mut words, node)) = tell::act(action, |node| self.name(node)) else { return };
        let before = self.marks.last().filter(|mark| mark.at == at && mark.act == act).is_some();
        if !before {
            self.ways.clear();
        }
        if let Action::Cut { from, to } | Action::Heal { from, to } = action {
            self.ways.push((*from, *to));
            words = tell::ways(act, &self.ways, |node| self.name(node)).unwrap_or(words);
            if before && let (Some(mark), Some(line)) = (self.marks.last_mut(), self.lines.back_mut()) {
                mark.label = words.as_str().into();
                line.text = format!("{words}.").into();
                return;
            }
        }
        self.marks.push(MarkView { at, act, label: words.as_str().into() });
        self.chain.clear();
        let id = self.push(at, node, StoryKind::You, true, format!("{words}."));
        if let Some(node) = node.filter(|_| !matches!(act, Act::Restart | Act::Resume | Act::Heal)) {
            self.chain.push(CauseStep { story: id, at, place: Place::Node(node) });
        }
    }

    pub fn told(&mut self, at: Instant, node: NodeId, note: &Note, machine: Option<&Node>) {
        match note {
            Note::Client(note) => self.client_told(at, node, note),
            Note::Broker(note) => self.broker_told(at, node, note, machine),
            Note::Keeper(note) => self.keeper_told(at, node, note),
            Note::Controller(note) => self.controller_told(at, node, note),
            Note::Zab(note) => self.zab_told(at, node, note),
        }
    }

    fn zab_told(&mut self, at: Instant, node: NodeId, note: &ZabNote) {
        match note {
            ZabNote::Established { epoch, .. } => {
                let label = format!("{node} leads").into();
                self.ensemble.begin(at, Some(node), SpanKind::Led { epoch: i64::from(epoch.0) }, label);
                let text = format!("{node} leads the ensemble at Zab epoch {epoch}: a quorum holds its history.");
                let id = self.line(at, node, StoryKind::Ensemble, true, text);
                self.step(id, at, Place::Node(node));
            }
            ZabNote::SteppedDown { .. } => {
                let led = self.ensemble.leader == Some(node);
                self.ensemble.ends(at, node, "looking");
                let id = self.line(at, node, StoryKind::Ensemble, led, format!("{node} {note}."));
                if led {
                    self.step(id, at, Place::Node(node));
                }
            }
            note => self.plain(at, node, tell::zab(note), note),
        }
    }

    fn keeper_told(&mut self, at: Instant, node: NodeId, note: &KeeperNote) {
        match note {
            KeeperNote::SessionExpired { session, silent } => {
                let (whose, current) = (self.owner(*session), self.sessions.get(session).copied());
                let silent = tell::seconds(*silent);
                let which = if current.is_some() { "its session" } else { "it" };
                let text = format!("{node} stopped hearing from {whose} {silent} ago: {which} expires.");
                let id = self.line(at, node, StoryKind::Session, true, text);
                if let Some(owner @ NodeId::Broker(_)) = current {
                    let registered = self.brokers.iter().find(|(_, place)| **place == owner).map(|(id, _)| *id);
                    self.gone.insert(owner, at);
                    if let Some(broker) = registered {
                        self.step(id, at, Place::Registration(broker));
                    }
                }
            }
            KeeperNote::SessionClosed { session, ephemerals } if *ephemerals > 0 => {
                let (whose, owner) = (self.owner(*session), self.sessions.remove(session));
                let of = if owner.is_some() { "the session of " } else { "" };
                self.line(at, node, StoryKind::Session, false, format!("{node} ends {of}{whose}: its znodes go."));
                if let Some(owner) = owner {
                    self.gone.entry(owner).or_insert(at);
                }
            }
            KeeperNote::SessionMoved { session, from, to } if self.sessions.contains_key(session) => {
                let whose = self.owner(*session);
                let text = format!("{whose} speaks through keeper-{to} now, and no longer through keeper-{from}.");
                self.line(at, node, StoryKind::Session, false, text);
            }
            note => self.plain(at, node, tell::keeper(note), note),
        }
    }

    fn broker_told(&mut self, at: Instant, node: NodeId, note: &BrokerNote, machine: Option<&Node>) {
        match note {
            BrokerNote::Registered { id, .. } => {
                self.brokers.insert(*id, node);
                self.gone.remove(&node);
                if let Some(session) = machine.and_then(Node::as_broker).and_then(|broker| broker.session()) {
                    let before = self.sessions.iter().find(|(_, of)| **of == node).map(|(id, _)| *id);
                    if let Some(before) = before {
                        self.sessions.remove(&before);
                    }
                    self.sessions.insert(session, node);
                }
                let text = format!("{node} creates /brokers/ids/{id}: now the others know of it.");
                self.line(at, node, StoryKind::Session, false, text);
            }
            BrokerNote::BecameLeader { partition, epoch, start } => {
                let label = format!("{node} leads").into();
                let history = self.partitions.entry(partition.clone()).or_default();
                history.reign.begin(at, Some(node), SpanKind::Led { epoch: i64::from(epoch.0) }, label);
                history.begun.push((i64::from(epoch.0), *start));
                let lost = history.lose_from(*start);
                self.lost += lost;
                if lost > 0 {
                    let text = format!(
                        "{node} leads {partition} with a log that ends at {start}: {lost} acknowledged records are gone."
                    );
                    self.line(at, node, StoryKind::Log, true, text);
                }
            }
            BrokerNote::HighWatermark { partition, offset } => {
                let Some(history) = self.partitions.get_mut(partition) else { return };
                if history.committed || offset.0 == 0 || history.reign.leader != Some(node) {
                    return;
                }
                history.committed = true;
                let text = format!("{node} raises the HW of {partition} to {offset}: the first record is committed.");
                self.line(at, node, StoryKind::Log, true, text);
            }
            BrokerNote::IsrShrunk { partition, .. } | BrokerNote::IsrExpanded { partition, .. } => {
                let id = self.line(at, node, StoryKind::Isr, true, format!("{node} {note}."));
                self.step(id, at, Place::Replica(node, partition.clone()));
            }
            BrokerNote::Truncated { partition, from, to, .. } => {
                self.partitions.entry(partition.clone()).or_default().cut_off(node, at, *to, *from);
                let id = self.line(at, node, StoryKind::Log, true, format!("{node} {note}."));
                self.step(id, at, Place::Replica(node, partition.clone()));
            }
            note => self.plain(at, node, tell::broker(note), note),
        }
    }

    fn controller_told(&mut self, at: Instant, node: NodeId, note: &ControllerNote) {
        match note {
            ControllerNote::BecameController { .. } => {
                let text = format!("{node} created /controller first, so it is the controller.");
                let id = self.line(at, node, StoryKind::Leadership, true, text);
                self.step(id, at, Place::Node(node));
            }
            ControllerNote::BrokerDown { id: broker } => {
                let text = format!("{node} sees that /brokers/ids/{broker} is gone: as controller it must act.");
                let id = self.line(at, node, StoryKind::Session, true, text);
                if self.chain.iter().all(|step| step.place != Place::Node(node)) {
                    self.step(id, at, Place::Node(node));
                }
            }
            ControllerNote::Elected { partition, leader, .. }
            | ControllerNote::UncleanElection { partition, leader, .. } => {
                let id = self.line(at, node, StoryKind::Leadership, true, format!("{node} {note}."));
                let place = self.brokers.get(leader).copied().unwrap_or(node);
                self.step(id, at, Place::Replica(place, partition.clone()));
            }
            ControllerNote::OfflinePartition { partition } => {
                let history = self.partitions.entry(partition.clone()).or_default();
                if history.reign.leader.is_some() {
                    history.reign.begin(at, None, SpanKind::Leaderless, "none".into());
                }
                self.line(at, node, StoryKind::Leadership, true, format!("{node} {note}."));
            }
            ControllerNote::LeftIsr { .. } => {
                self.line(at, node, StoryKind::Isr, true, format!("{node} {note}."));
            }
            note => self.plain(at, node, tell::controller(note), note),
        }
    }

    fn client_told(&mut self, at: Instant, node: NodeId, note: &ClientNote) {
        match note {
            ClientNote::Acknowledged { partition, base, records, .. } => {
                self.acknowledged += u64::from(*records);
                self.partitions.entry(partition.clone()).or_default().promise(*base, *base + i64::from(*records));
            }
            ClientNote::Wrote { .. } => self.writes += 1,
            _ => {}
        }
        let Some((weight, kind)) = tell::client(note) else { return };
        let text = format!("{} {note}", self.name(node));
        match weight {
            Weight::Chatter => self.say(at, node, kind, text),
            Weight::Plain | Weight::Turning => {
                self.line(at, node, kind, weight == Weight::Turning, text);
            }
        }
    }

    // Lines.

    fn plain(&mut self, at: Instant, node: NodeId, worth: Option<(Weight, StoryKind)>, note: &dyn core::fmt::Display) {
        let Some((weight, kind)) = worth else { return };
        let text = format!("{node} {note}.");
        match weight {
            Weight::Chatter => self.say(at, node, kind, text),
            Weight::Plain | Weight::Turning => {
                self.line(at, node, kind, weight == Weight::Turning, text);
            }
        }
    }

    fn say(&mut self, at: Instant, node: NodeId, kind: StoryKind, text: String) {
        self.next_line += 1;
        let line = StoryLine { id: self.next_line, at, kind, subject: Some(node), text: text.into(), turning: false };
        self.chatter.push_back(line);
        if self.chatter.len() > CHATTER {
            self.chatter.pop_front();
        }
    }

    fn line(&mut self, at: Instant, node: NodeId, kind: StoryKind, turning: bool, text: String) -> u64 {
        self.push(at, Some(node), kind, turning, text)
    }

    fn push(&mut self, at: Instant, subject: Option<NodeId>, kind: StoryKind, turning: bool, text: String) -> u64 {
        self.next_line += 1;
        self.lines.push_back(StoryLine { id: self.next_line, at, kind, subject, text: text.into(), turning });
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
        self.next_line
    }

    /// The chain of causes goes on: only where somebody has begun one.
    fn step(&mut self, story: u64, at: Instant, place: Place) {
        let is_new = self.chain.iter().all(|step| step.place != place);
        if !self.chain.is_empty() && self.chain.len() < STEPS && is_new {
            self.chain.push(CauseStep { story, at, place });
        }
    }

    fn owner(&self, session: SessionId) -> String {
        match self.sessions.get(&session) {
            Some(node) => self.name(*node),
            None => format!("old session {session}"),
        }
    }

    // What it knows.

    pub fn name(&self, node: NodeId) -> String {
        self.names.get(&node).map_or_else(|| node.to_string(), |name| name.to_string())
    }

    pub fn client_name(&self, node: NodeId) -> Option<Arc<str>> {
        self.names.get(&node).cloned()
    }

    pub fn up_since(&self, node: NodeId) -> Instant {
        self.up_since.get(&node).copied().unwrap_or(Instant::ZERO)
    }

    pub fn gone_since(&self, node: NodeId) -> Option<Instant> {
        self.gone.get(&node).copied()
    }

    pub fn has_registered(&self, node: NodeId) -> bool {
        self.brokers.values().any(|place| *place == node)
    }

    pub fn ensemble(&self) -> &Reign {
        &self.ensemble
    }

    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, &History)> {
        self.partitions.iter()
    }

    pub fn history(&self, partition: &TopicPartition) -> Option<&History> {
        self.partitions.get(partition)
    }

    /// The newest lines, oldest first.
    pub fn story(&self) -> Vec<StoryLine> {
        let mut all: Vec<StoryLine> = self.lines.iter().chain(&self.chatter).cloned().collect();
        sort_by(&mut all, |a, b| a.id.cmp(&b.id));
        let skip = all.len().saturating_sub(LINES);
        all.drain(..skip);
        all
    }

    pub fn causes(&self) -> Vec<CauseStep> {
        // One's own act alone explains nothing yet.
        if self.chain.len() > 1 { self.chain.clone() } else { Vec::new() }
    }

    pub fn tracks(&self) -> Vec<TrackView> {
        let track = |name: &str, kind, spans: &[SpanView], marks: &[MarkView]| TrackView {
            name: name.into(),
            kind,
            spans: spans.to_vec(),
            marks: marks.to_vec(),
        };
        let mut tracks = vec![
            track("You", TrackKind::You, &[], &self.marks),
            track("Ensemble", TrackKind::Ensemble, &self.ensemble.spans, &[]),
        ];
        let partitions = self
            .partitions
            .iter()
            .map(|(partition, history)| track(&partition.to_string(), TrackKind::Partition, &history.reign.spans, &[]));
        tracks.extend(partitions);
        tracks
    }
}

impl History {
    fn promise(&mut self, from: Offset, upto: Offset) {
        match self.promised.back_mut() {
            Some(last) if last.1 == from => last.1 = upto,
            _ => self.promised.push_back((from, upto)),
        }
        if self.promised.len() > RANGES {
            self.promised.pop_front();
        }
    }

    /// A leader whose log ends at `end` took over: what was promised from there on is gone. Returns how much.
    fn lose_from(&mut self, end: Offset) -> u64 {
        let mut lost = 0;
        for range in &mut self.promised {
            if range.1 > end {
                let from = range.0.max(end);
                lost += (range.1 - from) as u64;
                self.lost.push_back((from, range.1));
                range.1 = from;
            }
        }
        self.promised.retain(|range| range.0 < range.1);
        while self.lost.len() > RANGES {
            self.lost.pop_front();
        }
        lost
    }

    fn cut_off(&mut self, node: NodeId, at: Instant, from: Offset, upto: Offset) {
        let records = (from.0.max(upto.0 - 8)..upto.0).map(|offset| {
            let offset = Offset(offset);
            // The newest epoch is the one that cut it; the record is of the one before.
            let older = self.begun.iter().rev().skip(1).find(|(_, start)| *start <= offset);
            let epoch = older.or(self.begun.first()).map_or(0, |(epoch, _)| *epoch as i32);
            let fate = self.fate(offset);
            RecordView { offset, epoch: crate::id::LeaderEpoch(epoch), fate, truncated: true }
        });
        let records = records.collect();
        self.cut.retain(|(_, when, _)| at.since(*when) <= CUT_SHOWN);
        self.cut.push((node, at, records));
    }

    pub fn fate(&self, offset: Offset) -> Fate {
        let within = |ranges: &Queue<(Offset, Offset)>| {
            ranges.iter().rev().any(|(from, upto)| *from <= offset && offset < *upto)
        };
        if within(&self.promised) {
            Fate::Promised
        } else if within(&self.lost) {
            Fate::Lost { allowed: true }
        } else {
            Fate::Untold
        }
    }

    /// What was cut from a node's log a short while ago.
    pub fn cut_from(&self, node: NodeId, now: Instant) -> impl Iterator<Item = &RecordView> {
        let recent = self.cut.iter().filter(move |(of, at, _)| *of == node && now.since(*at) <= CUT_SHOWN);
        recent.flat_map(|(_, _, records)| records)
    }
}

/// `producer-1`, `consumer-1`, `client-1`: numbered by kind.
fn client_names(scenario: &Scenario) -> OrdMap<NodeId, Arc<str>> {
    let (mut names, mut counts) = (OrdMap::new(), OrdMap::new());
    for (at, spec) in crate::sim::build::clients(scenario).iter().enumerate() {
        let kind = match spec {
            ClientSpec::Producer { .. } => "producer",
            ClientSpec::Consumer { .. } => "consumer",
            ClientSpec::Keeper { .. } => "client",
            ClientSpec::Admin => "admin",
        };
        let count: &mut u32 = counts.entry(kind).or_default();
        *count += 1;
        names.insert(NodeId::Client(at as u32 + 1), format!("{kind}-{count}").into());
    }
    names
}
