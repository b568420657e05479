//! Which stone comes next, and how it is thrown at a cluster of processes.

use glasshouse_core::rng::Rng;
use glasshouse_tests::process::{Node, ProcessCluster, eventually, signal_all};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// What lies on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hurt {
    Down,
    Paused,
}

/// Draws stones and throws them.
pub struct Thrower<'a> {
    cluster: &'a ProcessCluster,
    rng: Rng,
    hurt: BTreeMap<String, Hurt>,
    /// Links that are cut or slow.
    links: u32,
}

/// Nodes that are down or paused at once; more than a majority may be.
const HURT: usize = 3;

impl Thrower<'_> {
    pub fn new(cluster: &ProcessCluster, seed: u64) -> Thrower<'_> {
        Thrower { cluster, rng: Rng::new(seed).fork("stones"), hurt: BTreeMap::new(), links: 0 }
    }

    /// Throws the next one; what it was.
    pub fn throw(&mut self) -> String {
        let crowded = self.hurt.len() >= HURT;
        match self.rng.below(100) {
            draw if crowded && draw < 60 => self.pick_up(),
            0..25 => self.kill(),
            25..42 => self.pause(),
            42..60 => self.cut(),
            60..72 => self.slow(),
            72..80 => self.power_off(),
            _ => self.pick_up(),
        }
    }

    /// Gives what was thrown time to matter: sometimes less than any time-out, sometimes more than a session's.
    pub fn wait(&mut self) {
        let most = *self.rng.pick(&[100, 600, 3000]).expect("there are three");
        std::thread::sleep(Duration::from_millis(self.rng.range(0, most)));
    }

    /// Everybody is up, and nothing lies anywhere.
    pub fn heal(&mut self) {
        self.cluster.heal();
        (self.hurt, self.links) = (BTreeMap::new(), 0);
    }

    /// One that is neither down nor paused.
    fn well(&mut self) -> Option<String> {
        let names = self.cluster.nodes.iter().map(|node| node.name.clone());
        let well: Vec<String> = names.filter(|name| !self.hurt.contains_key(name)).collect();
        self.rng.pick(&well).cloned()
    }

    fn on(&self, stone: &str, name: &str) -> String {
        self.must(json!({"stone": stone, "on": name}));
        format!("{stone} {name}")
    }

    fn kill(&mut self) -> String {
        // Whoever is paused can be killed as well.
        let names: Vec<String> = self.cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let up: Vec<String> = names.into_iter().filter(|name| self.hurt.get(name) != Some(&Hurt::Down)).collect();
        let Some(name) = self.rng.pick(&up).cloned() else { return self.pick_up() };
        self.hurt.insert(name.clone(), Hurt::Down);
        self.on("kill", &name)
    }

    fn pause(&mut self) -> String {
        let Some(name) = self.well() else { return self.pick_up() };
        self.hurt.insert(name.clone(), Hurt::Paused);
        self.on("pause", &name)
    }

    fn pair(&mut self) -> Option<(String, String)> {
        let (one, other) = (self.well()?, self.well()?);
        (one != other).then_some((one, other))
    }

    fn cut(&mut self) -> String {
        let Some((one, other)) = self.pair() else { return self.pause() };
        self.links += 1;
        for (on, node) in [(&one, &other), (&other, &one)] {
            self.must(json!({"stone": "cut", "on": on, "node": node}));
        }
        format!("cut {one} {other}")
    }

    fn slow(&mut self) -> String {
        let Some((one, other)) = self.pair() else { return self.kill() };
        self.links += 1;
        let ms = self.rng.range(5, 400);
        for (on, node) in [(&one, &other), (&other, &one)] {
            self.must(json!({"stone": "slow", "on": on, "node": node, "ms": ms}));
        }
        format!("slow {one} {other} by {ms} ms")
    }

    fn must(&self, stone: serde_json::Value) {
        // A node that was started a moment ago may still be on its way.
        eventually("a stone is thrown", || self.cluster.throw(&stone).ok());
    }

    /// Everything dies at the same moment; it comes back a little later.
    fn power_off(&mut self) -> String {
        let pids: Vec<u32> = self.cluster.running().iter().map(|node: &Node| node.pid).collect();
        signal_all("KILL", &pids);
        // Until all are told to be gone, they would be taken to run.
        eventually("everybody is gone", || self.cluster.running().is_empty().then_some(()));
        std::thread::sleep(Duration::from_millis(self.rng.range(0, 500)));
        self.heal();
        format!("power off: {} processes killed at once, and all started again", pids.len())
    }

    /// Starts one that is down, or lets one go on that is paused, or heals the links.
    fn pick_up(&mut self) -> String {
        let hurt: Vec<(String, Hurt)> = self.hurt.iter().map(|(name, hurt)| (name.clone(), *hurt)).collect();
        match self.rng.pick(&hurt).cloned() {
            Some((name, hurt)) => {
                self.hurt.remove(&name);
                self.on(if hurt == Hurt::Down { "restart" } else { "resume" }, &name)
            }
            None if self.links > 0 => {
                self.heal();
                "heal".to_owned()
            }
            None => self.kill(),
        }
    }
}
