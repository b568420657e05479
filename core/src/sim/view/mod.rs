//! A world as a [`ClusterView`]: read off its machines, hosts and network, and off what its [`Chronicle`] remembers.
//!
//! Only looks; two views of one world are equal.

mod chronicle;
mod headline;
mod nodes;
mod tell;
mod traffic;

pub(super) use chronicle::Chronicle;

use super::world::World;
use crate::check::INVARIANTS;
use crate::machine::Machine;
use crate::ordered::sort_by;
use crate::view::*;

impl World {
    /// What the whole cluster looks like now.
    pub fn view(&self) -> ClusterView {
        let mut brokers = nodes::brokers(self);
        let known = nodes::known(self, &brokers);
        nodes::mark_isr(&mut brokers, &known);
        let clients = nodes::clients(self);
        let mut view = ClusterView {
            now: self.now(),
            known_until: self.now(),
            headline: Headline::default(),
            keepers: nodes::keepers(self),
            links: traffic::links(self, &clients),
            messages: traffic::messages(self, &brokers, &clients),
            timers: self.timers(),
            story: self.chronicle.story(),
            causes: self.chronicle.causes(),
            ledger: self.ledger(&clients),
            promises: self.promises(),
            tracks: self.chronicle.tracks(),
            known,
            brokers,
            clients,
        };
        view.headline = headline::of(self, &view);
        view
    }

    fn timers(&self) -> Vec<TimerView> {
        let timer = |host: &super::host::Host| {
            let wake = host.machine.as_deref()?.wake_at()?;
            Some(TimerView { node: host.id, at: host.clock.to_world(wake.at), why: wake.why.into() })
        };
        let mut all: Vec<TimerView> = self.hosts().iter().filter_map(timer).collect();
        sort_by(&mut all, |a, b| a.at.cmp(&b.at));
        all
    }

    fn ledger(&self, clients: &[ClientView]) -> Ledger {
        let waiting = clients.iter().map(|client| match client.kind {
            ClientKind::Producer { in_flight, .. } => u64::from(in_flight),
            ClientKind::Consumer { .. } | ClientKind::Keeper { .. } => 0,
        });
        let Chronicle { acknowledged, lost, writes, .. } = self.chronicle;
        Ledger {
            acknowledged,
            survive: acknowledged.saturating_sub(lost),
            waiting: waiting.sum(),
            writes_acknowledged: writes,
            writes_kept: writes,
        }
    }

    fn promises(&self) -> Vec<PromiseView> {
        let verdict = |name: &str| {
            if let Some(fired) = self.checks.fired().filter(|fired| fired.invariant == name) {
                return PromiseVerdict::Violated { at: fired.at, why: fired.detail.as_str().into() };
            }
            match self.checks.allowed().iter().rev().find(|loss| loss.invariant == name) {
                Some(loss) => PromiseVerdict::AllowedLoss { at: loss.at, why: loss.why.as_str().into() },
                None => PromiseVerdict::Holds,
            }
        };
        let view = |invariant: &crate::check::Invariant| PromiseView {
            name: invariant.name.into(),
            sentence: invariant.sentence.into(),
            verdict: verdict(invariant.name),
        };
        INVARIANTS.iter().map(view).collect()
    }
}
