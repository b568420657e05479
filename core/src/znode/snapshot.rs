//! The tree as bytes: ZooKeeper's snapshot file, and the same without header and seals as SNAP streams it
//! (protocol.md A.9, A.3). Knows no disk and no peer.
//!
//! A snapshot is *fuzzy*: it is named after the last txn before it was begun, but written in pieces while more are
//! applied, so that it may hold any part of their effects. Replaying the log from its name on makes it whole, because
//! applying is idempotent.

use super::acl::{Acl, AclList};
use super::checksum::Adler32;
use super::path::ZPath;
use super::stat::StoredStat;
use super::tree::{Tree, Znode};
use super::txn::{DIGEST_VERSION, TxnDigest};
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::{SessionId, Zxid};
use crate::ordered::OrdMap;
use bytes::Bytes;

/// Where a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `snapshot.<zxid>`: with header, seals, digest and the last zxid.
    File,
    /// What follows a SNAP packet: neither header nor seals, and "BenWasHere" at its end.
    Stream,
}

/// The file's first bytes.
pub const MAGIC: &[u8; 4] = b"ZKSN";
const VERSION: i32 = 2;
const DATABASE_ID: i64 = -1;
/// What a leader writes after the database in SNAP.
pub const SIGNATURE: &str = "BenWasHere";
/// Stands for [`AclList::open`] without an entry in the table.
const OPEN_KEY: i64 = -1;
/// What ends the nodes: the one path no node has, since the root is written as "".
const END_OF_NODES: &str = "/";

/// Writes a snapshot in pieces, walking by path over a tree that changes under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotCursor {
    target: Target,
    /// The tree when the snapshot was begun, which costs nothing: its sessions and access lists are the ones written.
    begun: Tree,
    keys: OrdMap<AclList, i64>,
    stage: Stage,
    /// Over everything written so far, seals included.
    sum: Adler32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Head,
    /// The sessions after this one are still to be written.
    Sessions(Option<SessionId>),
    Lists,
    /// The nodes after this path are still to be written.
    Nodes(Option<ZPath>),
    Tail,
    Done,
}

impl SnapshotCursor {
    /// Begins a snapshot; it is named after `tree.last_zxid()` as it is now.
    pub fn new(tree: &Tree, target: Target) -> SnapshotCursor {
        let open = AclList::open();
        let keys = tree.access_lists().filter(|list| **list != open).cloned().zip(1..).collect();
        SnapshotCursor { target, begun: tree.clone(), keys, stage: Stage::Head, sum: Adler32::default() }
    }

    /// The zxid the snapshot is named after: replay begins right above it.
    pub fn zxid(&self) -> Zxid {
        self.begun.last_zxid()
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The next piece, of about `size` bytes (one node or access list more than that at most), from the tree as it is
    /// now; `None` after the last.
    pub fn next_piece(&mut self, tree: &Tree, size: u32) -> Option<Bytes> {
        if self.is_done() {
            return None;
        }
        let size = size as usize;
        let mut writer = Writer::with_capacity(size.min(1 << 20));
        while self.stage != Stage::Done && (writer.len() < size || writer.is_empty()) {
            self.stage = match self.stage.clone() {
                Stage::Head => self.write_head(&mut writer),
                Stage::Sessions(after) => self.write_sessions(after, size, &mut writer),
                Stage::Lists => self.write_lists(&mut writer),
                Stage::Nodes(after) => self.write_nodes(after, tree, size, &mut writer),
                Stage::Tail => self.write_tail(tree, &mut writer),
                Stage::Done => Stage::Done,
            };
        }
        let piece = writer.finish();
        // The tail has summed itself up: its seals need the sum on the way.
        if self.stage != Stage::Done {
            self.sum.update(&piece);
        }
        Some(piece)
    }

    fn write_head(&self, writer: &mut Writer) -> Stage {
        if self.target == Target::File {
            write_file_header(writer);
        }
        writer.i32(self.begun.session_count() as i32);
        Stage::Sessions(None)
    }

    fn write_sessions(&self, after: Option<SessionId>, size: usize, writer: &mut Writer) -> Stage {
        for (session, timeout) in self.begun.sessions_after(after) {
            writer.i64(session.0);
            writer.i32(timeout);
            if writer.len() >= size {
                return Stage::Sessions(Some(session));
            }
        }
        Stage::Lists
    }

    fn write_lists(&self, writer: &mut Writer) -> Stage {
        writer.i32(self.keys.len() as i32);
        for (list, key) in &self.keys {
            writer.i64(*key);
            list.encode(writer);
        }
        Stage::Nodes(None)
    }

    fn write_nodes(&self, after: Option<ZPath>, tree: &Tree, size: usize, writer: &mut Writer) -> Stage {
        let mut skipped: Option<&ZPath> = None;
        for (path, node) in tree.walk_after(after.as_ref()) {
            if skipped.is_some_and(|skipped| path.is_below(skipped)) {
                continue;
            }
            match self.key_of(path, node) {
                Some(key) => write_node(writer, path, node.data.as_deref(), key, &node.stat),
                None => skipped = Some(path),
            }
            // Not within what is skipped: the next piece would not know.
            if writer.len() >= size && skipped.is_none_or(|skipped| path != skipped) {
                return Stage::Nodes(Some(path.clone()));
            }
        }
        writer.jute_string(END_OF_NODES);
        Stage::Tail
    }

    /// The key of a node's access list. A list that came up after the table was written has none: then the node goes
    /// by the list it had when the snapshot began, and the replayed setACL or create gives it the new one; a node that
    /// was not there at all is left out with all below it (`None`), and the replayed creates bring them.
    fn key_of(&self, path: &ZPath, node: &Znode) -> Option<i64> {
        let known = |list: &AclList| match self.keys.get(list) {
            Some(key) => Some(*key),
            None => (*list == AclList::open()).then_some(OPEN_KEY),
        };
        known(&node.acl).or_else(|| self.begun.node(path).and_then(|before| known(&before.acl)))
    }

    fn write_tail(&mut self, tree: &Tree, writer: &mut Writer) -> Stage {
        match self.target {
            Target::Stream => writer.jute_string(SIGNATURE),
            Target::File => {
                let mut summed = 0;
                self.seal(writer, &mut summed);
                writer.i64(tree.last_zxid().to_wire());
                writer.i32(DIGEST_VERSION);
                writer.i64(tree.digest() as i64);
                self.seal(writer, &mut summed);
                writer.i64(tree.last_zxid().to_wire());
                self.seal(writer, &mut summed);
            }
        }
        Stage::Done
    }

    /// Sums up what this piece holds beyond `summed` bytes and seals it.
    fn seal(&mut self, writer: &mut Writer, summed: &mut usize) {
        self.sum.update(&writer.as_slice()[*summed..]);
        *summed = writer.len();
        write_seal(writer, self.sum);
    }
}

/// A whole snapshot of a tree that stands still.
pub fn serialize(tree: &Tree, target: Target) -> Bytes {
    let mut cursor = SnapshotCursor::new(tree, target);
    let mut whole = Writer::new();
    while let Some(piece) = cursor.next_piece(tree, u32::MAX) {
        whole.put(&piece);
    }
    whole.finish()
}

fn write_file_header(writer: &mut Writer) {
    writer.put(MAGIC);
    writer.i32(VERSION);
    writer.i64(DATABASE_ID);
}

fn write_node(writer: &mut Writer, path: &ZPath, data: Option<&[u8]>, key: i64, stat: &StoredStat) {
    writer.jute_string(if path.is_root() { "" } else { path.as_str() });
    writer.jute_buffer(data);
    writer.i64(key);
    stat.encode(writer);
}

fn write_seal(writer: &mut Writer, sum: Adler32) {
    writer.i64(i64::from(sum.value()));
    writer.jute_string("/");
}

/// A snapshot as it lies there: every field in the order of the file, nothing put together yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotImage {
    pub sessions: Vec<(SessionId, i32)>,
    pub lists: Vec<(i64, AclList)>,
    pub nodes: Vec<NodeImage>,
    /// The digest at a zxid at or above the snapshot's name. Only in files.
    pub digest: Option<(Zxid, TxnDigest)>,
    /// The last zxid when writing ended. Only in files, and only of ZooKeeper 3.9.
    pub last_zxid: Option<Zxid>,
}

/// A node of a [`SnapshotImage`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeImage {
    pub path: ZPath,
    pub data: Option<Bytes>,
    pub acl_key: i64,
    pub stat: StoredStat,
}

/// Takes bytes and keeps the sum of what it has passed.
struct Summed {
    bytes: Bytes,
    reader: Reader,
    sum: Adler32,
    summed: usize,
}

impl Summed {
    fn sum_up(&mut self) -> Adler32 {
        let upto = self.reader.position();
        self.sum.update(&self.bytes[self.summed..upto]);
        self.summed = upto;
        self.sum
    }

    fn check_seal(&mut self) -> Result<()> {
        let at = self.reader.position() as u64;
        let sum = self.sum_up();
        let seal = self.reader.i64()?;
        if seal != i64::from(sum.value()) {
            return Err(Malformed { at, expected: "the Adler-32 of the snapshot so far" });
        }
        match self.reader.jute_string()?.as_str() {
            "/" => Ok(()),
            _ => self.reader.malformed("the end of a seal"),
        }
    }
}

impl SnapshotImage {
    /// Parses a file's or a stream's bytes; checks every seal, and for a stream the signature.
    pub fn parse(bytes: Bytes, target: Target) -> Result<SnapshotImage> {
        let reader = Reader::new(bytes.clone());
        let mut input = Summed { bytes, reader, sum: Adler32::default(), summed: 0 };
        if target == Target::File {
            check_file_header(&mut input.reader)?;
        }
        let reader = &mut input.reader;
        let sessions = reader.jute_vector(12, |reader| Ok((SessionId(reader.i64()?), reader.i32()?)))?;
        let lists = reader.jute_vector(12, |reader| Ok((reader.i64()?, read_list(reader)?)))?;
        let mut nodes = Vec::new();
        while let Some(node) = NodeImage::decode(reader)? {
            nodes.push(node);
        }
        let mut image = SnapshotImage { sessions, lists, nodes, digest: None, last_zxid: None };
        match target {
            Target::Stream if reader.jute_string()? == SIGNATURE => {}
            Target::Stream => return reader.malformed("the signature after a snapshot"),
            Target::File => image.parse_tail(&mut input)?,
        }
        match input.reader.is_empty() {
            true => Ok(image),
            false => input.reader.malformed("the end of the snapshot"),
        }
    }

    fn parse_tail(&mut self, input: &mut Summed) -> Result<()> {
        input.check_seal()?;
        if !input.reader.is_empty() {
            let zxid = Zxid::from_wire(input.reader.i64()?);
            let digest = TxnDigest { version: input.reader.i32()?, tree: input.reader.i64()? as u64 };
            self.digest = Some((zxid, digest));
            input.check_seal()?;
        }
        if !input.reader.is_empty() {
            self.last_zxid = Some(Zxid::from_wire(input.reader.i64()?));
            input.check_seal()?;
        }
        Ok(())
    }

    /// The bytes of this image, in its own order.
    pub fn encode(&self, target: Target) -> Bytes {
        let mut writer = Writer::new();
        if target == Target::File {
            write_file_header(&mut writer);
        }
        writer.jute_vector(&self.sessions, |writer, (session, timeout)| {
            writer.i64(session.0);
            writer.i32(*timeout);
        });
        writer.jute_vector(&self.lists, |writer, (key, list)| {
            writer.i64(*key);
            list.encode(writer);
        });
        for node in &self.nodes {
            write_node(&mut writer, &node.path, node.data.as_deref(), node.acl_key, &node.stat);
        }
        writer.jute_string(END_OF_NODES);
        if target == Target::Stream {
            writer.jute_string(SIGNATURE);
            return writer.finish();
        }
        let seal = |writer: &mut Writer| {
            let mut sum = Adler32::default();
            sum.update(writer.as_slice());
            write_seal(writer, sum);
        };
        seal(&mut writer);
        if let Some((zxid, digest)) = self.digest {
            writer.i64(zxid.to_wire());
            writer.i32(digest.version);
            writer.i64(digest.tree as i64);
            seal(&mut writer);
        }
        if let Some(zxid) = self.last_zxid {
            writer.i64(zxid.to_wire());
            seal(&mut writer);
        }
        writer.finish()
    }

    /// Puts the tree together, as of `zxid`: the file's name, or what SNAP said. Every node must follow its parent.
    pub fn into_tree(self, zxid: Zxid) -> Result<Tree> {
        let wrong = |expected| Malformed { at: 0, expected };
        let lists: OrdMap<i64, AclList> = self.lists.into_iter().collect();
        let mut tree = Tree::bare();
        for (session, timeout) in self.sessions {
            tree.put_session(session, timeout);
        }
        for NodeImage { path, data, acl_key, stat } in self.nodes {
            let acl = match acl_key {
                OPEN_KEY => AclList::open(),
                key => lists.get(&key).cloned().ok_or(wrong("an access list that the table holds"))?,
            };
            if tree.node(&path).is_some() {
                return Err(wrong("each node once"));
            }
            if let Some(parent) = path.parent() {
                tree.modify(&parent, |parent| parent.children += 1).ok_or(wrong("a node after its parent"))?;
            }
            tree.put(path, Znode::new(data, acl, stat));
        }
        if tree.is_empty() {
            return Err(wrong("a root"));
        }
        tree.set_last_zxid(zxid);
        Ok(tree)
    }
}

/// Parses a snapshot and puts the tree together as of `zxid`.
pub fn parse(bytes: Bytes, target: Target, zxid: Zxid) -> Result<Tree> {
    SnapshotImage::parse(bytes, target)?.into_tree(zxid)
}

impl NodeImage {
    /// `None` at the end of the nodes.
    fn decode(reader: &mut Reader) -> Result<Option<NodeImage>> {
        let at = reader.position() as u64;
        let text = reader.jute_string()?;
        let path = match text.as_str() {
            END_OF_NODES => return Ok(None),
            "" => ZPath::root(),
            text => ZPath::parse(text).map_err(|_| Malformed { at, expected: "a node's path" })?,
        };
        let data = reader.jute_buffer()?;
        Ok(Some(NodeImage { path, data, acl_key: reader.i64()?, stat: StoredStat::decode(reader)? }))
    }
}

fn read_list(reader: &mut Reader) -> Result<AclList> {
    reader.jute_vector(12, Acl::decode).map(AclList::new)
}

fn check_file_header(reader: &mut Reader) -> Result<()> {
    if reader.take(4, "a snapshot's magic")?.as_ref() != MAGIC {
        return Err(Malformed { at: 0, expected: "a snapshot's magic" });
    }
    if reader.i32()? != VERSION {
        return Err(Malformed { at: 4, expected: "snapshot version 2" });
    }
    reader.i64()?;
    Ok(())
}
