//! What operators write under `/config`: settings of topics and brokers. Any broker does; brokers see it through
//! `/config/changes` (protocol.md C.1).

use super::*;
use crate::api::kafka::{
    AlterConfigsResult, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use crate::broker::config::TopicSettings;
use crate::broker::znodes::Configs;

/// Settings being changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Alteration {
    validate_only: bool,
    resources: Vec<Altered>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Altered {
    kind: &'static str,
    /// As `/config` names it: `<default>` for all brokers.
    node: String,
    resource_type: i8,
    resource_name: String,
    changes: Vec<AlterableConfig>,
    error: ErrorCode,
}

impl Controller {
    pub(super) fn alter_configs(&mut self, request: &IncrementalAlterConfigsRequest, fx: Fx<'_>) {
        let resources = request.resources.iter().map(|resource| {
            let kind = match resource.resource_type {
                2 => "topics",
                4 => "brokers",
                _ => "",
            };
            let is_default = kind == "brokers" && resource.resource_name.is_empty();
            Altered {
                kind,
                node: if is_default { "<default>".to_owned() } else { resource.resource_name.clone() },
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                changes: resource.configs.clone(),
                error: if kind.is_empty() { ErrorCode::INVALID_REQUEST } else { ErrorCode::NONE },
            }
        });
        let alteration = Alteration { validate_only: request.validate_only, resources: resources.collect() };
        let mut ops = vec![Op::exists(znodes::CONTROLLER, false)];
        for resource in alteration.resources.iter().filter(|resource| resource.error.is_none()) {
            ops.push(Op::get(&znodes::config(resource.kind, &resource.node), false));
            let is_topic = resource.kind == "topics";
            let path = if is_topic { znodes::topic(&resource.node) } else { znodes::BROKER_IDS.to_owned() };
            ops.push(Op::exists(&path, false));
        }
        self.ask(ops, Then::ConfigsRead(Box::new(alteration)), fx);
    }

    /// Writes the new settings whole, as long as the controller is the one that was read, and tells who they are for.
    pub(super) fn on_configs_read(&mut self, mut alteration: Alteration, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut answers = answers.into_iter();
        let controller = answers.next().and_then(Result::ok).and_then(|done| done.stat().map(|stat| stat.version));
        let mut ops = Vec::new();
        for resource in alteration.resources.iter_mut().filter(|resource| resource.error.is_none()) {
            let (Some(node), Some(owner)) = (answers.next(), answers.next()) else { break };
            if owner.is_err() {
                resource.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                continue;
            }
            let is_new = node.is_err();
            let old = data(node).and_then(|data| znodes::decode_configs(&data)).unwrap_or_default();
            let Some(configs) = changed(old, resource.kind, &resource.changes) else {
                resource.error = ErrorCode::INVALID_CONFIG;
                continue;
            };
            if alteration.validate_only {
                continue;
            }
            let (path, data) = (znodes::config(resource.kind, &resource.node), znodes::encode_configs(&configs));
            let write = if is_new {
                Op::create(&path, Some(data), CreateMode::Persistent)
            } else {
                Op::set(&path, data, ANY_VERSION)
            };
            ops.push(match controller {
                Some(version) => Op::Multi(vec![Op::check(znodes::CONTROLLER, version), write]),
                None => write,
            });
            let change = znodes::encode_config_change(resource.kind, &resource.node);
            let path = format!("{}/config_change_", znodes::CONFIG_CHANGES);
            ops.push(Op::create(&path, Some(change), CreateMode::PersistentSequential));
        }
        self.ask(ops, Then::ConfigsWritten(Box::new(alteration)), fx);
    }

    pub(super) fn on_configs_written(&mut self, mut alteration: Alteration, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut writes = answers.into_iter().step_by(2);
        for resource in alteration.resources.iter_mut().filter(|resource| resource.error.is_none()) {
            if !alteration.validate_only && writes.next().map(written).is_none_or(|answer| answer.is_err()) {
                resource.error = ErrorCode::UNKNOWN_SERVER_ERROR;
            }
        }
        let responses = alteration.resources.into_iter().map(|resource| AlterConfigsResult {
            error: resource.error,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        });
        let responses = responses.collect();
        self.reply(IncrementalAlterConfigsResponse { responses, ..Default::default() }.into(), fx);
    }
}

/// Settings after these changes; `None` if one of them cannot be made.
fn changed(mut configs: Configs, kind: &str, changes: &[AlterableConfig]) -> Option<Configs> {
    for change in changes {
        let value = change.value.clone();
        let list =
            || configs.get(&change.name).map(|old| old.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let new = match change.operation {
            0 => Some(value?),
            1 => None,
            2 => {
                let mut list: Vec<String> = list();
                list.extend(
                    value?.split(',').map(str::to_owned).filter(|item| !list.contains(item)).collect::<Vec<_>>(),
                );
                Some(list.join(","))
            }
            3 => {
                let value = value?;
                let list: Vec<String> = list();
                let kept: Vec<String> =
                    list.into_iter().filter(|item| !value.split(',').any(|gone| gone == item)).collect();
                Some(kept.join(","))
            }
            _ => return None,
        };
        match new {
            Some(value) if !is_valid_setting(kind, &change.name, &value) => return None,
            Some(value) => configs.insert(change.name.clone(), value),
            None => configs.remove(&change.name),
        };
    }
    Some(configs)
}

/// Whether a setting can be read. One of a broker that we do not know is stored as it is, as Kafka does: it may be a
/// plug-in's.
fn is_valid_setting(kind: &str, name: &str, value: &str) -> bool {
    match kind {
        "topics" => TopicSettings::check(name, value).is_ok(),
        _ => !Settings::NAMES.contains(&name) || Settings::default().set(name, value).is_ok(),
    }
}
