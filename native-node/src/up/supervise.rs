//! Watches over the nodes of a cluster: starts them, tells when they serve, reports those that end, starts them again,
//! and stops all of them in order.

use super::Args;
use super::control::{Control, Order, Ordered};
use super::describe::{Cluster, Node};
use super::member::{Body, End, How};
use super::plan::{Plan, Planned};
use super::ready;
use crate::cli::term::{complain, of_output};
use crate::config::{NodeConfig, Role};
use crate::observe::http;
use crate::shutdown::Signals;
use anyhow::{Context, Result, anyhow};
use glasshouse_core::id::NodeId;
use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// The pause before `cluster.json` is written again that could not be.
const REWRITE_AFTER: Duration = Duration::from_secs(1);
/// How long a node may take to stop in order.
const STOPPING: Duration = Duration::from_secs(15);
/// The pause before a node that ended is started again; doubled while it does not last, up to the other.
const RESTART_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A run that lasted so long was none of a series of failures: a node serves long before.
const LASTED: Duration = Duration::from_secs(1);

/// One node, whether it runs or not.
#[derive(Debug)]
struct Member {
    planned: Planned,
    body: Option<Body>,
    /// Runs so far.
    run: u32,
    since: Instant,
    pause: Duration,
    /// It was killed on purpose: an end that is no news.
    expected: bool,
    /// A stone has killed it.
    thrown: bool,
    /// We have killed it because it was to stop and did not, or because nobody would wait.
    cut_short: bool,
    /// When it is started again.
    again: Option<Instant>,
}

impl Member {
    /// Ends it though it has not stopped in order.
    async fn cut_short(&mut self) {
        if let Some(body) = &self.body {
            self.cut_short = true;
            body.kill().await;
        }
    }

    fn is_keeper(&self) -> bool {
        matches!(self.planned.config.role, Role::Keeper(_))
    }

    fn number(&self) -> u32 {
        match self.planned.config.me {
            NodeId::Keeper(id) => u32::from(id.0),
            NodeId::Broker(number) | NodeId::Client(number) => number,
        }
    }
}

/// The cluster, as its supervisor sees it.
struct Supervisor {
    args: Args,
    members: Vec<Member>,
    how: How,
    told: watch::Sender<Cluster>,
    /// When `cluster.json` is written again, which could not be: its disk is full, say.
    owed: Option<Instant>,
}

/// Starts a planned cluster and stays with it to its end.
///
/// # Errors
/// One sentence: it does not start, does not serve, or did not stop in order.
pub async fn run(args: Args, plan: Plan) -> Result<ExitCode> {
    let mut signals = Signals::new().context("signals cannot be heard")?;
    let (ends, mut ended) = mpsc::unbounded_channel();
    let (orders, mut ordered) = mpsc::channel(16);
    let program = args.processes.then(std::env::current_exe).transpose().context("this program cannot be found")?;
    let (data, control) = (plan.data, plan.control);
    let member = |planned| Member {
        planned,
        body: None,
        run: 0,
        since: Instant::now(),
        pause: RESTART_AFTER.0,
        expected: false,
        thrown: false,
        cut_short: false,
        again: None,
    };
    let members: Vec<Member> = plan.nodes.into_iter().map(member).collect();
    let cluster = Cluster {
        kafka: clients(&members, false).iter().map(SocketAddr::to_string).collect(),
        zookeeper: clients(&members, true).iter().map(SocketAddr::to_string).collect(),
        data: data.folder.clone(),
        nodes: Vec::new(),
        cluster: plan.cluster,
        pid: std::process::id(),
        control: control.local_addr().context("the control has no address")?.to_string(),
        stones: args.stones,
    };
    if data.temporary {
        complain(format_args!(
            "glasshouse: the data goes to {}, removed at the end (--data DIR keeps it)",
            data.folder.display()
        ));
    }
    let told = watch::Sender::new(cluster);
    let control_answers = Control { orders, cluster: told.subscribe() };
    let mut supervisor = Supervisor { args, members, how: How { program, ends }, told, owed: None };

    let outcome = async {
        control.set_nonblocking(true).context("the control's socket cannot be used")?;
        let control = tokio::net::TcpListener::from_std(control).context("the control's socket cannot be used")?;
        tokio::spawn(http::serve(control, move |request| control_answers.clone().answer(request)));
        supervisor.start_all(&mut ended, &mut signals).await
    }
    .await;
    let serves = match outcome {
        Ok(true) => {
            supervisor.announce(data.temporary)?;
            supervisor.watch(&mut ended, &mut ordered, &mut signals).await
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    drop(ordered);
    let stopped = supervisor.stop_all(&mut ended, &mut signals).await;
    Cluster::remove(&data.folder);
    drop(data);
    serves?;
    stopped
}

/// Where the clients of a kind connect, in the order of the nodes.
fn clients(members: &[Member], keepers: bool) -> Vec<SocketAddr> {
    let kind = members.iter().filter(|member| member.is_keeper() == keepers);
    kind.map(|member| member.planned.config.clients).collect()
}

/// Returns at that time; never, if there is none.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Why those of a kind that are left cannot serve; nothing if they can.
fn too_few(keepers: bool, left: usize, all: usize) -> Option<String> {
    match (keepers, left) {
        (true, 0) => Some("no keeper is left".to_owned()),
        (true, left) if left * 2 <= all => Some(format!("{left} of {all} keepers are no majority")),
        (false, 0) => Some("no broker is left".to_owned()),
        (true | false, _) => None,
    }
}

/// What came of waiting.
enum Met {
    Served,
    /// Of a node, without which the others go on.
    End,
    /// Nothing, for too long.
    Late,
    Signal,
}

impl Supervisor {
    fn name(&self, at: usize) -> NodeId {
        self.members[at].planned.config.me
    }

    fn start(&mut self, at: usize, wait: bool) -> Result<()> {
        let member = &mut self.members[at];
        member.run += 1;
        (member.since, member.expected, member.thrown, member.again) = (Instant::now(), false, false, None);
        member.body = Some(Body::start(&mut member.planned, at, member.run, &self.how, wait)?);
        Ok(())
    }

    /// Starts keepers, and brokers once these serve: one that dials too early is turned away, and rests before it dials
    /// again. As processes, brokers get ready meanwhile. Goes on without those that end, if the rest can serve. True once
    /// the cluster serves; false if a signal came first.
    async fn start_all(&mut self, ended: &mut mpsc::UnboundedReceiver<End>, signals: &mut Signals) -> Result<bool> {
        let started = Instant::now();
        for at in 0..self.members.len() {
            let keeper = self.members[at].is_keeper();
            if keeper || self.args.processes {
                self.begin(at, !keeper)?;
            }
        }
        self.describe();
        self.told.borrow().write()?;
        let missing = RefCell::new(String::new());
        let note = |why| *missing.borrow_mut() = why;
        loop {
            let keepers: Vec<SocketAddr> = self.there(true).into_iter().map(|(_, at)| at).collect();
            match self.meanwhile(ready::ensemble_serves(&keepers, note), started, ended, signals).await? {
                Met::Served => break,
                Met::End => {}
                Met::Signal => return Ok(false),
                Met::Late => return Err(self.late(&missing.borrow())),
            }
        }
        tracing::debug!("the ensemble serves after {} ms", started.elapsed().as_millis());
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            match &mut member.body {
                Some(body) => {
                    if let Err(error) = body.go() {
                        tracing::warn!(node = %member.planned.config.me, "{error:#}");
                        body.kill().await;
                    }
                }
                None if member.run == 0 => self.begin(at, false)?,
                None => {}
            }
        }
        self.tell();
        loop {
            let brokers = self.there(false);
            match self.meanwhile(ready::brokers_serve(&brokers, note), started, ended, signals).await? {
                Met::Served => break,
                Met::End => {}
                Met::Signal => return Ok(false),
                Met::Late if self.some_serve(&brokers).await => break,
                Met::Late => return Err(self.late(&missing.borrow())),
            }
        }
        tracing::debug!("the cluster serves after {} ms", started.elapsed().as_millis());
        self.name_the_cure();
        Ok(true)
    }

    /// Starts a node for the first time.
    fn begin(&mut self, at: usize, wait: bool) -> Result<()> {
        match self.start(at, wait) {
            Ok(()) => Ok(()),
            Err(error) => self.do_without(at, &format!("did not start: {}", self.words(at, &error))),
        }
    }

    /// Why a node did not start, without its name.
    fn words(&self, at: usize, error: &anyhow::Error) -> String {
        let why = format!("{error:#}");
        why.strip_prefix(&format!("{}: ", self.name(at))).unwrap_or(&why).to_owned()
    }

    /// Those of a kind that did not end: their numbers, and where their clients connect.
    fn there(&self, keepers: bool) -> Vec<(u32, SocketAddr)> {
        let kind = self.members.iter().filter(|member| member.is_keeper() == keepers);
        let there = kind.filter(|member| member.body.is_some() || member.run == 0);
        there.map(|member| (member.number(), member.planned.config.clients)).collect()
    }

    /// Waits for something that one end or the operator's patience may make vain.
    async fn meanwhile(
        &mut self,
        what: impl Future<Output = ()>,
        started: Instant,
        ended: &mut mpsc::UnboundedReceiver<End>,
        signals: &mut Signals,
    ) -> Result<Met> {
        let patience = Duration::from_secs(self.args.patience);
        tokio::select! {
            done = timeout_at(started + patience, what) => Ok(if done.is_ok() { Met::Served } else { Met::Late }),
            () = signals.asked() => Ok(Met::Signal),
            Some(end) = ended.recv() => {
                self.members[end.at].body = None;
                self.do_without(end.at, &end.how)?;
                self.tell();
                Ok(Met::End)
            }
        }
    }

    /// A node ended before the cluster served.
    ///
    /// # Errors
    /// Without it the cluster cannot serve.
    fn do_without(&mut self, at: usize, how: &str) -> Result<()> {
        let keeper = self.members[at].is_keeper();
        let all = self.members.iter().filter(|member| member.is_keeper() == keeper).count();
        if let Some(why) = too_few(keeper, self.there(keeper).len(), all) {
            return Err(anyhow!("{} {how}; {why}", self.name(at)));
        }
        self.report(at, how, "; the others go on");
        Ok(())
    }

    /// What helps a keeper whose files are damaged. Not said before a majority serves: its folder may hold what the
    /// others lack.
    fn name_the_cure(&self) {
        for member in self.members.iter().filter(|member| member.is_keeper() && member.body.is_none()) {
            let NodeConfig { me, data, .. } = &member.planned.config;
            let data = data.display();
            complain(format_args!(
                "glasshouse: if the files of {me} are damaged, move {data} away: into an empty folder it copies \
                 everything from its leader"
            ));
        }
    }

    /// Whether one broker at least serves; tells of those that do not.
    async fn some_serve(&self, brokers: &[(u32, SocketAddr)]) -> bool {
        let mut silent = Vec::new();
        for (number, at) in brokers {
            if !ready::broker_serves(*at).await {
                silent.push(format!("broker-{number}"));
            }
        }
        if silent.len() == brokers.len() {
            return false;
        }
        if !silent.is_empty() {
            let (silent, patience) = (silent.join(", "), self.args.patience);
            complain(format_args!("glasshouse: no answer from {silent} after {patience} s; the others go on"));
        }
        true
    }

    fn late(&self, missing: &str) -> anyhow::Error {
        // Its nodes have not even said what they wait for.
        let missing = if missing.is_empty() { "its nodes did not start in that time" } else { missing };
        anyhow!("it does not serve after {} s: {missing}", self.args.patience)
    }

    /// Who runs where, for those who ask the control.
    fn describe(&self) {
        let nodes = self.members.iter().map(|member| {
            let config = &member.planned.config;
            Node {
                name: config.me.to_string(),
                role: if member.is_keeper() { "keeper" } else { "broker" }.to_owned(),
                pid: member.body.as_ref().map(|body| body.pid),
                clients: config.clients.to_string(),
                http: config.http.map(|at| at.to_string()),
            }
        });
        let nodes = nodes.collect();
        self.told.send_modify(|cluster| cluster.nodes = nodes);
    }

    /// Writes down who runs where. That it cannot is no reason to end a cluster: a full disk, which has just ended a
    /// node, may have room again in a moment, and the control answers meanwhile. Told once, and tried again.
    fn tell(&mut self) {
        self.describe();
        let written = self.told.borrow().write();
        match written {
            Ok(()) => self.owed = None,
            Err(error) => {
                if self.owed.is_none() {
                    let control = self.told.borrow().control.clone();
                    tracing::warn!("{error:#}");
                    complain(format_args!(
                        "glasshouse: {error:#}; it is tried again until it can be (meanwhile, http://{control}/cluster \
                         says what runs)"
                    ));
                }
                self.owed = Some(Instant::now() + REWRITE_AFTER);
            }
        }
    }

    fn announce(&self, temporary: bool) -> Result<()> {
        let cluster = self.told.borrow().clone();
        let text = if self.args.json { serde_json::to_string(&cluster)? } else { cluster.block(temporary) };
        let mut out = std::io::stdout().lock();
        // No reason to stop; and if nobody reads it, none to complain.
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
            && error.kind() != ErrorKind::BrokenPipe
        {
            let error = of_output(error);
            complain(format_args!("glasshouse: {error}; http://{}/cluster says where it is", cluster.control));
        }
        Ok(())
    }

    /// Until a signal, or until nobody is left.
    async fn watch(
        &mut self,
        ended: &mut mpsc::UnboundedReceiver<End>,
        ordered: &mut mpsc::Receiver<Ordered>,
        signals: &mut Signals,
    ) -> Result<()> {
        loop {
            let again = self.members.iter().enumerate().filter_map(|(at, member)| Some((member.again?, at))).min();
            let due = at(again.map(|(when, _)| when));
            let owed = at(self.owed);
            tokio::select! {
                () = signals.asked() => return Ok(()),
                Some(end) = ended.recv() => self.on_end(&end),
                Some((order, on, done)) = ordered.recv() => {
                    let _ = done.send(self.on_order(order, &on).await);
                }
                () = due => if let Some((_, at)) = again {
                    self.start_again(at);
                },
                () = owed => self.tell(),
            }
            let waits = |member: &Member| member.body.is_some() || member.again.is_some();
            if !self.args.stones && !self.members.iter().any(waits) {
                return Err(anyhow!("no node is left"));
            }
        }
    }

    /// A node ended: it is reported, and perhaps started again.
    fn on_end(&mut self, end: &End) {
        let member = &mut self.members[end.at];
        if member.run != end.run {
            return;
        }
        member.body = None;
        if !member.expected {
            self.report(end.at, &end.how, "");
        }
        self.tell();
    }

    /// Tells of a node that is down, and sees to it that it is started again.
    fn report(&mut self, at: usize, how: &str, rest: &str) {
        let name = self.name(at);
        let member = &mut self.members[at];
        tracing::warn!(node = %name, "{how}");
        if self.args.restart {
            // Whoever throws stones at nodes wants to see them come back. (Not every kill is somebody's wish: a system
            // without memory for the node kills it each time.)
            let calm = member.thrown || member.since.elapsed() >= LASTED;
            member.pause = if calm { RESTART_AFTER.0 } else { member.pause };
            member.again = Some(Instant::now() + member.pause);
            complain(format_args!(
                "glasshouse: {name} {how}; it is started again in {} ms{rest}",
                member.pause.as_millis()
            ));
            member.pause = (member.pause * 2).min(RESTART_AFTER.1);
        } else {
            complain(format_args!("glasshouse: {name} {how}{rest}"));
        }
    }

    fn start_again(&mut self, at: usize) {
        if let Err(error) = self.start(at, false) {
            let (name, why) = (self.name(at), self.words(at, &error));
            tracing::warn!(node = %name, "cannot be started again: {why}");
            complain(format_args!("glasshouse: {name} cannot be started again: {why}"));
            let member = &mut self.members[at];
            member.again = Some(Instant::now() + member.pause);
            member.pause = (member.pause * 2).min(RESTART_AFTER.1);
        }
        self.tell();
    }

    /// A stone.
    async fn on_order(&mut self, order: Order, on: &str) -> Result<(), String> {
        let found = self.members.iter().position(|member| member.planned.config.me.to_string() == on);
        let at = found.ok_or_else(|| format!("no node of this cluster is called {on:?}"))?;
        let member = &mut self.members[at];
        match (order, &member.body) {
            (Order::Kill, Some(body)) => {
                body.kill().await;
                // With --restart a stone is an end like any other.
                (member.expected, member.thrown) = (!self.args.restart, true);
            }
            (Order::Pause(paused), Some(body)) => body.pause(paused),
            (Order::Kill | Order::Pause(_), None) => return Err(format!("{on} is down")),
            (Order::Start, body) => {
                if let Some(body) = body {
                    body.kill().await;
                }
                (member.expected, member.thrown) = (true, true);
                member.again = Some(Instant::now() + RESTART_AFTER.0);
            }
        }
        Ok(())
    }

    /// Brokers first, so that each can hand its leaders over, the controller last; then keepers, their leader last.
    async fn stop_all(&mut self, ended: &mut mpsc::UnboundedReceiver<End>, signals: &mut Signals) -> Result<ExitCode> {
        for member in &mut self.members {
            member.again = None;
        }
        let stopped = tokio::select! {
            stopped = self.stop_in_order(ended) => stopped,
            () = signals.insisted() => Err(anyhow!("stopped at once, not in order, because asked twice")),
        };
        if stopped.is_err() {
            for member in &mut self.members {
                member.cut_short().await;
            }
            let all_gone = async {
                while self.members.iter().any(|member| member.body.is_some()) {
                    let Some(end) = ended.recv().await else { return };
                    self.gone(&end);
                }
            };
            let _ = timeout(Duration::from_secs(5), all_gone).await;
        }
        stopped.map(|()| ExitCode::SUCCESS)
    }

    async fn stop_in_order(&mut self, ended: &mut mpsc::UnboundedReceiver<End>) -> Result<()> {
        let (mut late, mut failed) = (Vec::new(), Vec::new());
        for at in self.order().await {
            let Some(body) = &self.members[at].body else { continue };
            body.stop().await;
            let gone = async {
                while self.members[at].body.is_some() {
                    let Some(end) = ended.recv().await else { return };
                    failed.extend(self.gone(&end));
                }
            };
            if timeout(STOPPING, gone).await.is_err() {
                late.push(self.name(at).to_string());
                self.members[at].cut_short().await;
            }
        }
        // Those that were killed are gone in a moment.
        let killed = async {
            while self.members.iter().any(|member| member.body.is_some()) {
                let Some(end) = ended.recv().await else { return };
                self.gone(&end);
            }
        };
        let _ = timeout(Duration::from_secs(5), killed).await;
        if !late.is_empty() {
            return Err(anyhow!("{} did not stop in {} s", late.join(", "), STOPPING.as_secs()));
        }
        // What its last sync promised may not be on the disk.
        match failed.is_empty() {
            true => Ok(()),
            false => Err(anyhow!("{}, when it was to stop", failed.join("; "))),
        }
    }

    /// Returns a sentence if it ended as nobody wished.
    fn gone(&mut self, end: &End) -> Option<String> {
        let name = self.name(end.at);
        let member = &mut self.members[end.at];
        if member.run != end.run {
            return None;
        }
        member.body = None;
        match (end.in_order, member.cut_short) {
            (true, _) => tracing::info!(node = %name, "{}", end.how),
            (false, true) => tracing::warn!(node = %name, "was killed before it had stopped in order"),
            (false, false) => tracing::warn!(node = %name, "{}", end.how),
        }
        let wished = end.in_order || member.cut_short || member.expected || member.thrown;
        (!wished).then(|| format!("{name} {}", end.how))
    }

    /// In which order nodes are stopped.
    async fn order(&self) -> Vec<usize> {
        let patience = Duration::from_secs(1);
        let (keepers, brokers) = (clients(&self.members, true), clients(&self.members, false));
        let controller = timeout(patience, ready::controller(&brokers)).await.ok().flatten();
        let leader = timeout(patience, ready::keeper_leader(&keepers)).await.ok().flatten();
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.sort_by_key(|at| match self.name(*at) {
            NodeId::Broker(number) => (0, controller == i32::try_from(number).ok(), *at),
            NodeId::Keeper(_) | NodeId::Client(_) => (1, leader == Some(*at), *at),
        });
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_keepers_and_one_broker_can_serve() {
        let enough = |keepers, left, all| too_few(keepers, left, all).is_none();
        assert!(enough(true, 2, 3) && enough(true, 3, 5) && enough(true, 1, 1) && enough(false, 1, 3));
        assert_eq!(too_few(true, 1, 3).unwrap(), "1 of 3 keepers are no majority");
        assert_eq!(too_few(true, 2, 4).unwrap(), "2 of 4 keepers are no majority");
        assert_eq!(too_few(true, 0, 1).unwrap(), "no keeper is left");
        assert_eq!(too_few(false, 0, 3).unwrap(), "no broker is left");
    }
}
