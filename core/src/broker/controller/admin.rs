//! What operators write: new topics, topics to delete. The controller's machines see it through their watches,
//! like anybody's writing; these writes are not fenced by the controller's epoch (protocol.md C.2).

use super::place::{Refused, Start};
use super::work::MOST_BYTES;
use super::*;
use crate::api::kafka::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic, DeleteTopicsRequest, DeleteTopicsResponse,
    DeletedTopic,
};
use crate::broker::config::TopicSettings;
use crate::broker::topic_names;
use crate::broker::znodes::{Assignment, Configs, TopicInfo};
use crate::id::TopicId;
use crate::ordered::sort_by;

/// Topics being created.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Creation {
    /// How long the answer waits for leaders; `None` for a topic that this broker makes by itself, for which nobody waits.
    timeout_ms: Option<i32>,
    validate_only: bool,
    topics: Vec<NewTopic>,
    refused: Vec<CreatedTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NewTopic {
    name: Arc<str>,
    info: TopicInfo,
    configs: Configs,
}

/// Topics whose deletion is being asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Deletion {
    timeout_ms: i32,
    topics: Vec<DeletedTopic>,
}

/// Bytes for the paths of a topic and its settings, and what else a request has.
const SLACK: usize = 1024;

/// Partitions that one CreateTopics may make. (Apache has no limit, and runs out of memory.)
const MOST_PARTITIONS: usize = 10_000;

impl Controller {
    /// Begins the CreateTopics at hand. `seats`: the brokers, if this is not the controller.
    pub(super) fn create_topics(&mut self, _: Now, seats: Option<Vec<Seat>>, fx: Fx<'_>) {
        let Some((_, _, Request::CreateTopics(request))) = self.answering.clone() else { return };
        let CreateTopicsRequest { topics, timeout_ms, validate_only, .. } = &*request;
        let timeout_ms = seats.is_none().then_some(*timeout_ms);
        let own = self.context.brokers.iter().filter(|(id, _)| self.context.is_live(**id));
        let seats = seats.unwrap_or_else(|| {
            own.map(|(id, broker)| Seat { id: *id, rack: broker.info.rack.as_deref().map(Into::into) }).collect()
        });
        let mut creation =
            Creation { timeout_ms, validate_only: *validate_only, topics: Vec::new(), refused: Vec::new() };
        let mut names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.clone()).collect();
        sort_by(&mut names, Ord::cmp);
        let mut room = MOST_PARTITIONS;
        for topic in topics {
            let next = names.partition_point(|name| *name <= topic.name);
            let twice = next >= 2 && names[next - 2] == topic.name;
            let planned = if twice {
                Err((ErrorCode::INVALID_REQUEST, "named twice"))
            } else {
                self.plan_topic(topic, &seats, room)
            };
            match planned {
                Ok(new) => {
                    room -= new.info.partitions.len();
                    creation.topics.push(new);
                }
                Err(refused) => creation.refused.push(refused_topic(topic.name.clone(), refused)),
            }
        }
        // What is marked for deletion still loses its settings when its znode is gone already.
        let names = creation.topics.iter().map(|topic| &topic.name);
        let looks = names.flat_map(|name| [znodes::delete_topic(name), znodes::config("topics", name)]);
        let mut ops: Vec<Op> = looks.map(|path| Op::exists(&path, false)).collect();
        if creation.topics.iter().any(|topic| topic_names::may_collide(&topic.name)) {
            ops.push(Op::children(znodes::TOPICS, false));
        }
        self.ask(ops, Then::LookedForTopics(Box::new(creation)), fx);
    }

    /// What must be wrong with these topics, whoever else makes or deletes some.
    pub(super) fn foresee(&self, request: &CreateTopicsRequest, seats: &[Seat]) -> Result<(), ErrorCode> {
        for topic in &request.topics {
            let (partitions, replication) = self.counts_of(topic).map_err(|(error, _)| error)?;
            if partitions as usize > MOST_PARTITIONS {
                return Err(ErrorCode::INVALID_PARTITIONS);
            }
            let anywhere = Start { index: 0, shift: 0, partition: 0 };
            place::place(seats, partitions, replication, anywhere).map_err(|refused| not_placed(refused).0)?;
        }
        Ok(())
    }

    /// `room`: partitions that the request may still make.
    fn plan_topic(
        &mut self,
        topic: &CreatableTopic,
        seats: &[Seat],
        room: usize,
    ) -> Result<NewTopic, (ErrorCode, &'static str)> {
        if !topic_names::is_legal(&topic.name) {
            return Err((
                ErrorCode::INVALID_TOPIC_EXCEPTION,
                "a topic's name has 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'",
            ));
        }
        if self.context.topics.contains_key(&topic.name) {
            return Err((ErrorCode::TOPIC_ALREADY_EXISTS, "the topic exists"));
        }
        let mut configs = Configs::new();
        for config in &topic.configs {
            let Some(value) = &config.value else {
                return Err((ErrorCode::INVALID_CONFIG, "a setting has no value"));
            };
            TopicSettings::check(&config.name, value).map_err(|why| (ErrorCode::INVALID_CONFIG, why))?;
            configs.insert(config.name.clone(), value.clone());
        }
        TopicSettings::check_together(&configs).map_err(|why| (ErrorCode::INVALID_CONFIG, why))?;
        if znodes::encode_configs(&configs).len() > MOST_BYTES {
            return Err((ErrorCode::INVALID_CONFIG, "its settings are too large for a znode"));
        }
        let asked = match topic.num_partitions {
            -1 => self.settings.num_partitions.max(topic.assignments.len() as i32),
            asked => asked,
        };
        if i64::from(asked) > room as i64 {
            return Err((ErrorCode::INVALID_PARTITIONS, "one request makes at most 10000 partitions"));
        }
        let replicas = if topic.assignments.is_empty() { self.placed(topic, seats)? } else { assigned(topic, seats)? };
        let partitions = (0..).zip(replicas.into_iter().map(Assignment::of)).collect();
        let info = TopicInfo { id: self.draw_topic_id(), partitions };
        // Both are written in one request.
        if info.encode().len() + znodes::encode_configs(&configs).len() + SLACK > MOST_BYTES {
            return Err((ErrorCode::INVALID_PARTITIONS, "its replicas are too many for a znode"));
        }
        Ok(NewTopic { name: topic.name.clone(), info, configs })
    }

    fn placed(
        &mut self,
        topic: &CreatableTopic,
        seats: &[Seat],
    ) -> Result<Vec<Vec<BrokerId>>, (ErrorCode, &'static str)> {
        let (partitions, replication) = self.counts_of(topic)?;
        let mut seats = seats.to_vec();
        sort_by(&mut seats, |a, b| a.id.cmp(&b.id));
        let start = Start::drawn(seats.len() as u64, &mut self.rng);
        place::place(&seats, partitions, replication, start).map_err(not_placed)
    }

    /// How many partitions it has, and how many replicas each, if they are to be placed.
    fn counts_of(&self, topic: &CreatableTopic) -> Result<(u32, u32), (ErrorCode, &'static str)> {
        let or_default = |asked: i32, default: i32| if asked == -1 { default } else { asked };
        let partitions = or_default(topic.num_partitions, self.settings.num_partitions);
        let replication = or_default(topic.replication_factor.into(), self.settings.default_replication_factor);
        if partitions < 1 {
            return Err((ErrorCode::INVALID_PARTITIONS, "a topic has at least one partition"));
        }
        if replication < 1 {
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, "a partition has at least one replica"));
        }
        Ok((partitions as u32, replication as u32))
    }

    /// A random UUID; those that Kafka reserves (0 and 1), and those that print with a dash in front, are drawn again.
    fn draw_topic_id(&mut self) -> TopicId {
        loop {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.rng.next().to_be_bytes());
            id[8..].copy_from_slice(&self.rng.next().to_be_bytes());
            id[6] = id[6] & 0x0f | 0x40;
            id[8] = id[8] & 0x3f | 0x80;
            let id = TopicId(id);
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// `answers`: of each topic, whether it is marked for deletion, and whether it has settings; then all topics, if one of
    /// the new ones may collide with them (AdminZkClient.validateTopicCreate). A topic and its settings are written together:
    /// those of one that exists already, though this broker did not know, stay as they are.
    pub(super) fn on_looked_for_topics(&mut self, mut creation: Creation, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut ops = Vec::new();
        let topics = core::mem::take(&mut creation.topics);
        let all: OrdSet<Arc<str>> = answers.get(2 * topics.len()).cloned().map(names).into_iter().flatten().collect();
        let named = all.iter().filter(|name| topic_names::may_collide(name));
        let mut unified: OrdSet<String> = named.map(|name| topic_names::unified(name)).collect();
        for (topic, answers) in topics.into_iter().zip(answers.chunks_exact(2)) {
            if answers[0].is_ok() {
                let refused = (ErrorCode::TOPIC_ALREADY_EXISTS, "the topic is marked for deletion");
                creation.refused.push(refused_topic(topic.name, refused));
                continue;
            }
            if topic_names::may_collide(&topic.name) && !all.contains(&topic.name) {
                let of = topic_names::unified(&topic.name);
                // Those before it in the request are there already, unless nothing is made.
                let collides = if creation.validate_only { unified.contains(&of) } else { !unified.insert(of) };
                if collides {
                    let refused = (ErrorCode::INVALID_TOPIC_EXCEPTION, "a topic has that name but for '.' and '_'");
                    creation.refused.push(refused_topic(topic.name, refused));
                    continue;
                }
            }
            let (path, configs) = (znodes::config("topics", &topic.name), znodes::encode_configs(&topic.configs));
            let configs = match answers[1] {
                Ok(_) => Op::set(&path, configs, ANY_VERSION),
                Err(_) => Op::create(&path, Some(configs), CreateMode::Persistent),
            };
            let path = znodes::topic(&topic.name);
            ops.push(Op::Multi(vec![Op::create(&path, Some(topic.info.encode()), CreateMode::Persistent), configs]));
            creation.topics.push(topic);
        }
        if creation.validate_only {
            let response = creation_response(&creation, &[]);
            return self.reply(response, fx);
        }
        self.ask(ops, Then::TopicsMade(Box::new(creation)), fx);
    }

    pub(super) fn on_topics_made(&mut self, now: Now, creation: Creation, answers: Vec<Answer>, fx: Fx<'_>) {
        let made: Vec<Answer> = answers.into_iter().map(all_made).collect();
        let mut created = Vec::new();
        for (topic, answer) in creation.topics.iter().zip(&made) {
            if answer.is_ok() {
                let partitions = topic.info.partitions.len() as u32;
                fx.note(ControllerNote::TopicCreated { topic: topic.name.clone(), partitions });
                created.push(topic.name.clone());
            }
        }
        let response = creation_response(&creation, &made);
        match creation.timeout_ms {
            Some(timeout_ms) => self.park(now, timeout_ms, created, response, fx),
            None => self.reply(response, fx),
        }
    }

    /// Answers when the topics have leaders (or are gone). Without time to wait for that it is not known to have happened
    /// (ZkAdminManager.createTopics, deleteTopics).
    fn park(&mut self, now: Now, timeout_ms: i32, topics: Vec<Arc<str>>, mut response: Response<LogRange>, fx: Fx<'_>) {
        if topics.is_empty() {
            return self.reply(response, fx);
        }
        if timeout_ms <= 0 {
            time_out(&mut response);
            return self.reply(response, fx);
        }
        if let Some((from, _, _)) = self.answering.take() {
            let deadline = now.at + Span::millis(timeout_ms as u64);
            self.parked.push(Parked { from, deadline, topics, response });
        }
    }

    /// Sends the replies that waited long enough, or for what has happened.
    pub(super) fn settle_parked(&mut self, now: Now, fx: Fx<'_>) {
        if self.parked.is_empty() {
            return;
        }
        let context = &self.context;
        let has_leaders = |topic: &Arc<str>| {
            context.topics.contains_key(topic) && context.of_topic(topic).all(|(_, part)| part.leader().is_some())
        };
        for mut parked in core::mem::take(&mut self.parked) {
            let for_deletion = matches!(parked.response, Response::DeleteTopics(_));
            let is_done = parked
                .topics
                .iter()
                .all(|topic| if for_deletion { !context.topics.contains_key(topic) } else { has_leaders(topic) });
            if !is_done && now.at < parked.deadline {
                self.parked.push(parked);
                continue;
            }
            if !is_done {
                time_out(&mut parked.response);
            }
            fx.emit(Effect::Reply { to: parked.from, response: parked.response });
        }
        match self.parked.iter().map(|parked| parked.deadline).min() {
            Some(at) => self.deadlines.set(Timer::Parked, at),
            None => self.deadlines.clear(&Timer::Parked),
        }
    }

    pub(super) fn delete_topics(&mut self, version: i16, request: &DeleteTopicsRequest, fx: Fx<'_>) {
        let wanted: Vec<(Option<Arc<str>>, TopicId)> = if version >= 6 {
            request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect()
        } else {
            request.names.iter().map(|name| (Some(name.clone()), TopicId::NONE)).collect()
        };
        let mut topics = Vec::new();
        let mut ops = Vec::new();
        for (name, id) in wanted {
            let by_id = name.is_none();
            let known = name.clone().or_else(|| self.context.topic_named(id).cloned());
            let known = known.filter(|name| self.context.topics.contains_key(name));
            let error = match known {
                _ if !self.settings.delete_topic_enable => ErrorCode::TOPIC_DELETION_DISABLED,
                None if by_id => ErrorCode::UNKNOWN_TOPIC_ID,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Some(_) => ErrorCode::NONE,
            };
            let topic_id = known.as_ref().and_then(|name| self.context.topics.get(name)).copied().unwrap_or(id);
            if error.is_none()
                && let Some(name) = &known
            {
                ops.push(Op::create(&znodes::delete_topic(name), None, CreateMode::Persistent));
            }
            topics.push(DeletedTopic { name: known.or(name), topic_id, error, ..Default::default() });
        }
        let deletion = Deletion { timeout_ms: request.timeout_ms, topics };
        self.ask(ops, Then::DeletionsAsked(Box::new(deletion)), fx);
    }

    pub(super) fn on_deletions_asked(&mut self, now: Now, deletion: Deletion, answers: Vec<Answer>, fx: Fx<'_>) {
        let Deletion { timeout_ms, mut topics } = deletion;
        let mut asked = Vec::new();
        for (topic, answer) in topics.iter_mut().filter(|topic| topic.error.is_none()).zip(answers) {
            match answer {
                // A wish that is there already is waited for just the same.
                Ok(_) | Err(KeeperError::NODEEXISTS) => asked.extend(topic.name.clone()),
                Err(_) => topic.error = ErrorCode::UNKNOWN_SERVER_ERROR,
            }
        }
        let response = DeleteTopicsResponse { topics, ..Default::default() };
        self.park(now, timeout_ms, asked, response.into(), fx);
    }
}

/// The replicas a request names itself: partitions 0 and up, each of distinct known brokers, all equally many.
fn assigned(topic: &CreatableTopic, seats: &[Seat]) -> Result<Vec<Vec<BrokerId>>, (ErrorCode, &'static str)> {
    let invalid = |why| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        return Err((ErrorCode::INVALID_REQUEST, "with an assignment, partitions and replication factor are -1"));
    }
    if topic.assignments.len() > MOST_PARTITIONS {
        return Err((ErrorCode::INVALID_PARTITIONS, "too many partitions at once"));
    }
    let by_number: OrdMap<i32, &Vec<BrokerId>> =
        topic.assignments.iter().map(|assignment| (assignment.partition, &assignment.brokers)).collect();
    let is_dense = by_number.keys().copied().eq(0..topic.assignments.len() as i32);
    if !is_dense {
        return invalid("partitions are numbered from 0 without a gap");
    }
    let length = topic.assignments[0].brokers.len();
    if length > seats.len() {
        return invalid("a replica's broker is not live");
    }
    for replicas in by_number.values() {
        let is_even = !replicas.is_empty() && replicas.len() == length;
        if !is_even || replicas.iter().collect::<OrdSet<_>>().len() != length {
            return invalid("all partitions have equally many, distinct replicas");
        }
        if !replicas.iter().all(|id| seats.iter().any(|seat| seat.id == *id)) {
            return invalid("a replica's broker is not live");
        }
    }
    Ok(by_number.into_values().cloned().collect())
}

fn not_placed(refused: Refused) -> (ErrorCode, &'static str) {
    match refused {
        Refused::Nothing => (ErrorCode::INVALID_PARTITIONS, "a topic has at least one partition"),
        Refused::TooFewBrokers { .. } => (ErrorCode::INVALID_REPLICATION_FACTOR, "more replicas than live brokers"),
        Refused::RacksMissing => (ErrorCode::INVALID_REQUEST, "some brokers have a rack and some have none"),
    }
}

fn refused_topic(name: Arc<str>, (error, why): (ErrorCode, &str)) -> CreatedTopic {
    CreatedTopic { name, error, error_message: Some(why.to_owned()), ..Default::default() }
}

/// How the creation of a topic and its settings went. If it failed for the settings, they came or went meanwhile.
fn all_made(answer: Answer) -> Answer {
    let Ok(Done::Multi(mut parts)) = answer else { return answer };
    let settings = parts.pop().unwrap_or(Err(KeeperError::SYSTEMERROR));
    match parts.pop() {
        Some(Ok(_)) => settings.map_err(|_| KeeperError::SYSTEMERROR),
        Some(refused) => refused,
        None => settings,
    }
}

fn creation_response(creation: &Creation, made: &[Answer]) -> Response<LogRange> {
    let mut topics = creation.refused.clone();
    for (at, topic) in creation.topics.iter().enumerate() {
        let error = match made.get(at) {
            None | Some(Ok(_)) => ErrorCode::NONE,
            Some(Err(KeeperError::NODEEXISTS)) => ErrorCode::TOPIC_ALREADY_EXISTS,
            Some(Err(_)) => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        let replication = topic.info.partitions.values().next().map_or(-1, |of| of.replicas.len() as i16);
        topics.push(CreatedTopic {
            name: topic.name.clone(),
            topic_id: if error.is_none() && !creation.validate_only { topic.info.id } else { TopicId::NONE },
            error,
            num_partitions: topic.info.partitions.len() as i32,
            replication_factor: replication,
            configs: Some(Vec::new()),
            ..Default::default()
        });
    }
    CreateTopicsResponse { topics, ..Default::default() }.into()
}

/// The wait is over without what was waited for.
pub(super) fn time_out(response: &mut Response<LogRange>) {
    match response {
        Response::CreateTopics(response) => {
            for topic in response.topics.iter_mut().filter(|topic| topic.error.is_none()) {
                topic.error = ErrorCode::REQUEST_TIMED_OUT;
            }
        }
        Response::DeleteTopics(response) => {
            for topic in response.topics.iter_mut().filter(|topic| topic.error.is_none()) {
                topic.error = ErrorCode::REQUEST_TIMED_OUT;
            }
        }
        _ => {}
    }
}
