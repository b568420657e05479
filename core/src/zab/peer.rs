//! The peer: its state, its dispatcher and its clock. What each phase does is in the file of that phase.

use super::{Config, Effect, Input, Recovered, Role};
use crate::api::peer::QuorumPacket;
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::machine::{Effects, Machine};
use crate::time::{Now, Wake};
use bytes::Bytes;

/// One member of the ensemble, as atomic broadcast sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    config: std::sync::Arc<Config>,
}

impl Peer {
    /// Starts from what the disk holds, looking for a leader.
    pub fn recover(config: Config, _recovered: Recovered, _now: Now, _fx: &mut Effects<Effect>) -> Peer {
        Peer { config: std::sync::Arc::new(config) }
    }

    /// The zxid that the next proposal must carry. `None`: not an established leader, or the counter is used up, in
    /// which case the leader has just stepped down.
    pub fn next_zxid(&mut self, _now: Now, _fx: &mut Effects<Effect>) -> Option<Zxid> {
        unimplemented!()
    }

    /// Proposes a transaction under the zxid that `next_zxid` gave.
    pub fn propose(&mut self, _now: Now, _zxid: Zxid, _txn: Bytes, _fx: &mut Effects<Effect>) {
        unimplemented!()
    }

    /// Sends a REQUEST, SYNC or REVALIDATE to the leader; false if there is none to send to.
    pub fn forward(&mut self, _packet: QuorumPacket, _fx: &mut Effects<Effect>) -> bool {
        unimplemented!()
    }

    /// The leader sends a SYNC or REVALIDATE answer to a learner, behind what it has sent it before; false if it is gone.
    pub fn send_to(&mut self, _learner: KeeperId, _packet: QuorumPacket, _fx: &mut Effects<Effect>) -> bool {
        unimplemented!()
    }

    /// The last outstanding proposal: a `sync` waits until it is applied. `None`: answer at once.
    pub fn last_outstanding(&self) -> Option<Zxid> {
        unimplemented!()
    }

    pub fn role(&self) -> Role {
        unimplemented!()
    }

    /// The epoch file `currentEpoch`, as written.
    pub fn current_epoch(&self) -> ZabEpoch {
        unimplemented!()
    }

    /// The epoch file `acceptedEpoch`, as written.
    pub fn accepted_epoch(&self) -> ZabEpoch {
        unimplemented!()
    }

    /// The last transaction of the journal or snapshot: what elections compare.
    pub fn last_zxid(&self) -> Zxid {
        unimplemented!()
    }

    /// The last transaction known to be committed, and handed to the keeper.
    pub fn committed(&self) -> Zxid {
        unimplemented!()
    }

    /// The last transaction known to be on this peer's disk.
    pub fn durable(&self) -> Zxid {
        unimplemented!()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Machine for Peer {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, _now: Now, _input: Input, _fx: &mut Effects<Effect>) {
        unimplemented!()
    }

    fn wake_at(&self) -> Option<Wake> {
        None
    }
}
