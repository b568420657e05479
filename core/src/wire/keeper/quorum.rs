//! What keepers send each other: quorum packets and election notifications, in ZooKeeper's bytes (protocol.md A.5, A.1).
//! What a packet's data means is `api::quorum`'s.

use crate::api::peer::{Notification, PacketType, QuorumPacket, ServerState};
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::{KeeperId, ZabEpoch, Zxid};
use bytes::Bytes;

/// The version of notifications since 3.5.
const NOTIFICATION_VERSION: i32 = 2;
/// Notifications of ZooKeeper up to 3.3 end after the election epoch.
const LEGACY_NOTIFICATION: usize = 28;
/// Those up to 3.4 end after the peer epoch.
const PLAIN_NOTIFICATION: usize = 36;
/// The vote of who may not vote: ZooKeeper writes it as the smallest long, `KeeperId(0)` is ours.
const NOBODY: i64 = i64::MIN;

/// A quorum packet as jute writes it.
pub fn encode_packet(packet: &QuorumPacket) -> Bytes {
    let mut writer = Writer::with_capacity(24 + packet.data.as_ref().map_or(0, Bytes::len));
    writer.i32(packet.kind as i32);
    writer.i64(packet.zxid);
    writer.jute_buffer(packet.data.as_deref());
    match &packet.authinfo {
        None => writer.i32(-1),
        Some(ids) => writer.jute_vector(ids, |writer, (scheme, id)| {
            writer.jute_string(scheme);
            writer.jute_string(id);
        }),
    }
    writer.finish()
}

/// Reads one packet, which must be all there is. Its data shares `bytes`.
pub fn decode_packet(bytes: Bytes) -> Result<QuorumPacket> {
    let mut reader = Reader::new(bytes);
    let packet = read_packet(&mut reader)?;
    end(&reader, packet)
}

fn read_packet(reader: &mut Reader) -> Result<QuorumPacket> {
    let raw = reader.i32()?;
    let Some(kind) = PacketType::ALL.into_iter().find(|kind| *kind as i32 == raw) else {
        return Err(Malformed { at: 0, expected: "a packet type" });
    };
    let zxid = reader.i64()?;
    let data = reader.jute_buffer()?;
    let authinfo = match reader.i32()? {
        declared if declared < 0 => None,
        declared => {
            let count = reader.count(i64::from(declared), 8)?.unwrap_or(0);
            let mut ids = Vec::with_capacity(count.min(64));
            for _ in 0..count {
                ids.push((reader.jute_string()?, reader.jute_string()?));
            }
            Some(ids)
        }
    };
    Ok(QuorumPacket { kind, zxid, data, authinfo })
}

/// A notification without the length that goes before it.
pub fn encode_notification(notification: &Notification) -> Bytes {
    let Notification { state, leader, zxid, election_epoch, peer_epoch, config } = notification;
    let nobody = *leader == KeeperId(0);
    let vote = |value: i64| if nobody { NOBODY } else { value };
    let mut writer = Writer::with_capacity(44 + config.len());
    writer.i32(*state as i32);
    writer.i64(vote(i64::from(leader.0)));
    writer.i64(vote(zxid.to_wire()));
    writer.i64(*election_epoch as i64);
    writer.i64(vote(i64::from(peer_epoch.0)));
    writer.i32(NOTIFICATION_VERSION);
    writer.i32(config.len() as i32);
    writer.put(config);
    writer.finish()
}

/// Reads a notification; those of old servers lack the configuration, or the peer epoch too (then it is the zxid's).
pub fn decode_notification(bytes: Bytes) -> Result<Notification> {
    let length = bytes.len();
    let mut reader = Reader::new(bytes);
    let state = match reader.i32()? {
        0 => ServerState::Looking,
        1 => ServerState::Following,
        2 => ServerState::Leading,
        3 => ServerState::Observing,
        _ => return Err(Malformed { at: 0, expected: "a server state from 0 to 3" }),
    };
    let leader = match reader.i64()? {
        NOBODY => KeeperId(0),
        raw => match u8::try_from(raw) {
            Ok(id) => KeeperId(id),
            Err(_) => return Err(Malformed { at: 4, expected: "a server id from 0 to 255" }),
        },
    };
    let zxid = match reader.i64()? {
        NOBODY => Zxid::ZERO,
        raw => Zxid::from_wire(raw),
    };
    let election_epoch = reader.i64()? as u64;
    let peer_epoch = match length {
        LEGACY_NOTIFICATION => zxid.epoch(),
        _ => match reader.i64()? {
            NOBODY => ZabEpoch(0),
            raw => match u32::try_from(raw) {
                Ok(epoch) => ZabEpoch(epoch),
                Err(_) => return Err(Malformed { at: 28, expected: "an epoch of 32 bits" }),
            },
        },
    };
    // Who votes for nobody says nothing with the rest.
    let (zxid, peer_epoch) = if leader == KeeperId(0) { (Zxid::ZERO, ZabEpoch(0)) } else { (zxid, peer_epoch) };
    let config = if length > PLAIN_NOTIFICATION { read_config(&mut reader)? } else { Bytes::new() };
    end(&reader, Notification { state, leader, zxid, election_epoch, peer_epoch, config })
}

/// Version and configuration. Version 1 (3.4) has no configuration.
fn read_config(reader: &mut Reader) -> Result<Bytes> {
    if reader.i32()? < NOTIFICATION_VERSION {
        return Ok(reader.rest().slice(..0));
    }
    Ok(reader.jute_buffer()?.unwrap_or_default())
}

fn end<T>(reader: &Reader, whole: T) -> Result<T> {
    if reader.is_empty() { Ok(whole) } else { reader.malformed("the end of the message") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_keeps_null_apart_from_empty() {
        let bare = QuorumPacket::new(PacketType::Commit, Zxid(0x1_0000_0001), None);
        assert_eq!(encode_packet(&bare).len(), 20);
        assert_eq!(decode_packet(encode_packet(&bare)), Ok(bare.clone()));
        let named =
            QuorumPacket { data: Some(Bytes::new()), authinfo: Some(vec![("ip".into(), "::1".into())]), ..bare };
        assert_eq!(decode_packet(encode_packet(&named)), Ok(named));
    }

    #[test]
    fn an_observers_vote_for_nobody_is_the_smallest_long() {
        let nobody = Notification {
            state: ServerState::Looking,
            leader: KeeperId(0),
            zxid: Zxid::ZERO,
            election_epoch: 3,
            peer_epoch: ZabEpoch(0),
            config: Bytes::new(),
        };
        let bytes = encode_notification(&nobody);
        assert_eq!(bytes[4..12], i64::MIN.to_be_bytes());
        assert_eq!(decode_notification(bytes), Ok(nobody));
    }

    #[test]
    fn notifications_of_old_servers_are_read() {
        let mut writer = Writer::new();
        writer.i32(1);
        writer.i64(3);
        writer.i64(0x2_0000_0005);
        writer.i64(9);
        let legacy = decode_notification(writer.clone().finish()).expect("28 bytes");
        assert_eq!((legacy.leader, legacy.election_epoch, legacy.peer_epoch), (KeeperId(3), 9, ZabEpoch(2)));
        writer.i64(7);
        let plain = decode_notification(writer.clone().finish()).expect("36 bytes");
        assert_eq!((plain.peer_epoch, plain.config), (ZabEpoch(7), Bytes::new()));
        writer.i32(1);
        assert_eq!(decode_notification(writer.finish()).map(|read| read.peer_epoch), Ok(ZabEpoch(7)));
    }
}
