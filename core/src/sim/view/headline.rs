//! One sentence for the state of the cluster and two for why. The first that applies is said.

use super::chronicle::History;
use super::tell::seconds;
use crate::id::{NodeId, SessionId, TopicPartition};
use crate::sim::world::World;
use crate::time::Span;
use crate::view::*;

/// How long a change of leader stays news.
const NEWS: Span = Span::secs(4);

pub fn of(world: &World, view: &ClusterView) -> Headline {
    broken(world)
        .or_else(|| starting(world, view))
        .or_else(|| no_ensemble(world, view))
        .or_else(|| leaderless(world, view))
        .or_else(|| taken_over(world, view))
        .or_else(|| lost(world))
        .or_else(|| down(world, view))
        .or_else(|| apart(world, view))
        .or_else(|| out_of_sync(view))
        .unwrap_or_else(|| {
            say(
                "It runs. Now break it.",
                "This is a real cluster, and it lives in this page. Click a broker, a keeper, or a line between two of them.",
            )
        })
}

fn say(title: impl Into<String>, why: impl Into<String>) -> Headline {
    Headline { title: title.into().into(), why: why.into().into(), broken: false }
}

fn broken(world: &World) -> Option<Headline> {
    let fired = world.checks.fired()?;
    let mut headline = say(format!("{} is violated.", fired.invariant), fired.detail.clone());
    headline.broken = true;
    Some(headline)
}

/// Until the first record is committed.
fn starting(world: &World, view: &ClusterView) -> Option<Headline> {
    if world.chronicle.partitions().any(|(_, history)| history.committed) {
        return None;
    }
    let registered = view.known.registrations.iter().filter(|r| matches!(r.state, Registration::Here { .. })).count();
    Some(if !world.chronicle.ensemble().began {
        say(
            "Starting: the keepers look for a leader.",
            "Each votes for the one whose journal is newest; a majority decides.",
        )
    } else if registered < view.brokers.len() {
        say("The brokers open their sessions.", "Each creates a znode that lives as long as its session does.")
    } else if view.known.partitions.is_empty() {
        say(
            "The controller places the topic.",
            "It chooses a broker for each replica, and a leader for each partition.",
        )
    } else {
        say("The first records are on their way.", "The leader appends, the followers fetch: then it is committed.")
    })
}

fn no_ensemble(world: &World, view: &ClusterView) -> Option<Headline> {
    let reign = world.chronicle.ensemble();
    if reign.leader.is_some() {
        return None;
    }
    let (up, all) = (running(view), view.keepers.len());
    let meanwhile = if unled(world).next().is_some() {
        "What has lost its leader gets none until then."
    } else {
        "Brokers serve their clients meanwhile; nobody can be elected."
    };
    Some(if up * 2 > all {
        let since = seconds(view.now.since(reign.since));
        say("The ensemble has no leader.", format!("The keepers have had none for {since}. {meanwhile}"))
    } else {
        let why = format!("{up} of {all} keepers run, and a majority must agree. {meanwhile}");
        say("The ensemble has no quorum.", why)
    })
}

fn running(view: &ClusterView) -> usize {
    view.keepers.iter().filter(|keeper| keeper.state.is_up()).count()
}

/// Partitions that somebody has led and nobody leads.
fn unled(world: &World) -> impl Iterator<Item = (&TopicPartition, &History)> {
    world.chronicle.partitions().filter(|(_, history)| history.reign.began && history.reign.leader.is_none())
}

fn leaderless(world: &World, view: &ClusterView) -> Option<Headline> {
    let (partition, history) = unled(world).next()?;
    let told = view.known.partitions.iter().find(|told| told.partition == *partition)?;
    let title = format!("{partition} has no leader.");
    let registration = view.known.registrations.iter().find(|of| Some(of.broker) == told.leader);
    let Some(RegistrationView { node, state, .. }) = registration else {
        return Some(say(title, "It waits for one of its ISR to come back, so that nothing promised is lost."));
    };
    let up = view.broker(*node)?.state.is_up();
    let led = history.reign.spans.iter().rev().find_map(|span| match span.kind {
        SpanKind::Led { epoch } => Some(epoch),
        _ => None,
    });
    let chosen = led < Some(i64::from(told.leader_epoch.0));
    let (how, left) = match state {
        Registration::Here { expires, .. } if !up => {
            ("is down, and the ensemble does not know yet: its session runs out in", Some(expires))
        }
        Registration::Here { session, expires, .. } if session_of(world, *node) != Some(*session) => {
            ("is back, but its session of before still stands: it runs out in", Some(expires))
        }
        Registration::Here { .. } if chosen => {
            return Some(say(title, format!("{node} is to lead it, once the controller's word reaches it.")));
        }
        _ if up => ("is back and registers anew.", None),
        _ => ("is down.", None),
    };
    let rest = match left {
        Some(expires) => seconds(expires.left(view.now)) + ".",
        None => choosing(view).to_owned(),
    };
    Some(say(title, format!("{node} {how} {rest}")))
}

fn session_of(world: &World, broker: NodeId) -> Option<SessionId> {
    world.host(broker)?.machine.as_deref()?.as_broker()?.session()
}

/// Whether anybody can choose a leader now.
fn choosing(view: &ClusterView) -> &'static str {
    match view.known.controller {
        Some(id) if view.brokers.iter().any(|broker| broker.broker == id && broker.state.is_up()) => {
            "The controller is choosing an in-sync broker."
        }
        _ => "Nobody who runs is the controller, so nobody can choose a leader.",
    }
}

fn taken_over(world: &World, view: &ClusterView) -> Option<Headline> {
    let fresh = world.chronicle.partitions().filter_map(|(partition, history)| {
        let ended = history.reign.spans.iter().rev().nth(1)?;
        let mut led = history.reign.spans.iter().rev().filter(|span| matches!(span.kind, SpanKind::Led { .. }));
        let (now, before) = (led.next()?, led.next()?);
        let again = now.label != before.label;
        let news = view.now.since(history.reign.since) <= NEWS;
        Some((partition, history.reign.leader?, history.reign.since, ended)).filter(|_| again && news)
    });
    let (partition, leader, _, ended) = fresh.max_by_key(|fresh| fresh.2)?;
    let title = format!("{leader} took over {partition}.");
    Some(match ended.kind {
        SpanKind::Leaderless => {
            let took = seconds(ended.until.unwrap_or(view.now).since(ended.from));
            let why = if world.chronicle.up_since(leader) > ended.from {
                "until one of its ISR was back"
            } else {
                "until a session ran out, the controller heard of it, and chose from the ISR"
            };
            say(title, format!("It had no leader for {took}: {why}."))
        }
        _ => say(title, "The controller moved it to another broker of the ISR."),
    })
}

fn lost(world: &World) -> Option<Headline> {
    let lost = world.chronicle.lost;
    let why = world
        .checks
        .allowed()
        .last()
        .map_or_else(|| "A leader took over whose log did not hold them.".to_owned(), |loss| loss.why.clone());
    (lost > 0).then(|| {
        say(
            if lost == 1 {
                "A promised record is gone.".to_owned()
            } else {
                format!("{lost} promised records are gone.")
            },
            why,
        )
    })
}

fn down(world: &World, view: &ClusterView) -> Option<Headline> {
    let brokers = view.brokers.iter().map(|broker| (broker.node, broker.state));
    let keepers = view.keepers.iter().map(|keeper| (keeper.node(), keeper.state));
    let (node, state) = brokers.chain(keepers).find(|(_, state)| !state.is_up())?;
    let (word, since) = match state {
        NodeState::Paused { since } => ("is paused", since),
        NodeState::Up { since } | NodeState::Down { since } => ("is down", since),
    };
    let since = seconds(view.now.since(since));
    let registered = view.known.registrations.iter().find(|registration| registration.node == node);
    let why = match (node, registered.map(|registration| registration.state)) {
        (_, Some(Registration::Here { expires, .. })) => {
            format!(
                "For {since}. Its session runs out in {}; until then it counts as alive.",
                seconds(expires.left(view.now))
            )
        }
        (_, Some(_)) => {
            let alone = view.known.partitions.iter().any(|told| told.isr.len() < 2);
            let meanwhile = if alone && view.clients.iter().any(|client| client.waits.is_some()) {
                "Too few replicas are in sync to take more records: clients wait."
            } else {
                "The others carry on without it; when it is back it catches up."
            };
            format!("For {since}. {meanwhile}")
        }
        (NodeId::Keeper(_), None) => {
            let meanwhile = if running(view) * 2 <= view.keepers.len() {
                "The keepers that run are no majority, and their leader has yet to find out."
            } else if world.chronicle.ensemble().leader == Some(node) {
                "It leads the ensemble: nothing is agreed until the others miss it and elect another."
            } else {
                "The other keepers are a majority: the ensemble goes on."
            };
            format!("For {since}. {meanwhile}")
        }
        (_, None) => format!("For {since}."),
    };
    Some(say(format!("{node} {word}."), why))
}

fn apart(world: &World, view: &ClusterView) -> Option<Headline> {
    let (from, to, direction) = world.network.troubled().next()?;
    if let Some(alone) = [from, to].into_iter().find(|node| is_cut_off(view, *node)) {
        let why = "It hears nobody, and nobody is told: each side finds out by its own time-outs.";
        return Some(say(format!("{} is cut off.", view.name(alone)), why));
    }
    let (from, to) = (view.name(from), view.name(to));
    let links = view.links.iter().filter(|link| link.forth.state != LaneState::Ok || link.back.state != LaneState::Ok);
    let count = links.count();
    let what = if direction.cut {
        "cut"
    } else if direction.stalled {
        "stalled"
    } else {
        "slow"
    };
    let title = if count == 1 { format!("A link is {what}.") } else { format!("{count} links are in trouble.") };
    Some(say(title, format!("Between {from} and {to}. Nobody is told: each side finds out by its own time-outs.")))
}

/// Every one of its links is cut, both ways.
fn is_cut_off(view: &ClusterView, node: NodeId) -> bool {
    let goes_on = |link: &LinkView| link.forth.state != LaneState::Cut || link.back.state != LaneState::Cut;
    !view.links.iter().any(|link| (link.a == node || link.b == node) && goes_on(link))
}

fn out_of_sync(view: &ClusterView) -> Option<Headline> {
    let told = view.known.partitions.iter().find(|told| told.isr.len() < told.replicas.len())?;
    let missing: Vec<String> =
        told.replicas.iter().filter(|id| !told.isr.contains(id)).map(|id| format!("broker-{id}")).collect();
    Some(say(
        format!("{} is not in full sync.", told.partition),
        format!("{} must catch up before it counts again.", missing.join(" and ")),
    ))
}
