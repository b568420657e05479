//! What operators write under `/config`: settings of topics and brokers. Any broker does; brokers see it through
//! `/config/changes` (protocol.md C.1).

use super::*;
use crate::api::kafka::{
    AlterConfigsResult, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use crate::broker::config::{TopicSettings, list_default};
use crate::broker::topic_names;
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
            let name = &resource.resource_name;
            // The settings of all topics are the brokers'; a broker is named by its id (ZkAdminManager).
            let (kind, error) = match resource.resource_type {
                2 if name.is_empty() => ("topics", ErrorCode::INVALID_REQUEST),
                2 if !topic_names::is_legal(name) => ("topics", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                2 => ("topics", ErrorCode::NONE),
                4 if name.is_empty() || name.parse::<i32>().is_ok() => ("brokers", ErrorCode::NONE),
                _ => ("", ErrorCode::INVALID_REQUEST),
            };
            let is_default = kind == "brokers" && name.is_empty();
            Altered {
                kind,
                node: if is_default { "<default>".to_owned() } else { name.clone() },
                resource_type: resource.resource_type,
                resource_name: name.clone(),
                changes: resource.configs.clone(),
                error,
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
            let configs = match changed(old, resource.kind, &resource.changes) {
                Ok(configs) => configs,
                Err(error) => {
                    resource.error = error;
                    continue;
                }
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

/// Settings after these changes. Items are added to the list there is, or to Kafka's default; to and from what is no list
/// they are not (ConfigAdminManager.prepareIncrementalConfigs).
fn changed(mut configs: Configs, kind: &str, changes: &[AlterableConfig]) -> Result<Configs, ErrorCode> {
    let named: OrdSet<&str> = changes.iter().map(|change| &*change.name).collect();
    if named.len() < changes.len() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    for AlterableConfig { name, operation, value, .. } in changes {
        let value = match (operation, value) {
            (1, _) => {
                configs.remove(name);
                continue;
            }
            (0 | 2 | 3, Some(value)) => value,
            _ => return Err(ErrorCode::INVALID_REQUEST),
        };
        let new = if *operation == 0 {
            value.clone()
        } else {
            let default = list_default(name).ok_or(ErrorCode::INVALID_CONFIG)?;
            let old = configs.get(name).map_or(default, String::as_str);
            let mut items: Vec<&str> = old.split(',').filter(|_| !old.is_empty()).collect();
            if *operation == 2 {
                let more: Vec<&str> = value.split(',').filter(|item| !items.contains(item)).collect();
                items.extend(more);
            } else {
                items.retain(|item| !value.split(',').any(|gone| gone == *item));
            }
            items.join(",")
        };
        if !is_valid_setting(kind, name, &new) {
            return Err(ErrorCode::INVALID_CONFIG);
        }
        configs.insert(name.clone(), new);
    }
    match kind {
        "topics" if TopicSettings::check_together(&configs).is_err() => Err(ErrorCode::INVALID_CONFIG),
        _ => Ok(configs),
    }
}

/// Whether a setting can be read. One of a broker that we do not know is stored as it is, as Kafka does: it may be a
/// plug-in's.
fn is_valid_setting(kind: &str, name: &str, value: &str) -> bool {
    match kind {
        "topics" => TopicSettings::check(name, value).is_ok(),
        _ => !Settings::NAMES.contains(&name) || Settings::default().set(name, value).is_ok(),
    }
}
