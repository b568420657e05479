//! Answers to what is not served: the protocol's own error, in the place where each API's answer has it.
//!
//! A client that asks although ApiVersions did not offer it learns that this version of the API is not supported, and
//! fails with that, instead of a connection that breaks again and again. Only what has one error for the whole answer
//! is here (and FindCoordinator, which nearly everything of groups and transactions begins with); for the rest the
//! connection is closed.

use super::Asked;
use bytes::Bytes;
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::codec::{Reader, Result, Writer};

/// A field of an answer in which nothing but the error says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Error,
    /// An int32 of zero: the throttle time.
    Zero,
    /// An int32 of minus one: nobody, no generation.
    Minus,
    False,
    Long,
    /// A string, a list or bytes, with nothing in it. Strings of old versions have a shorter length than the rest.
    EmptyText,
    EmptyList,
    NullText,
}
use Part::{EmptyList, EmptyText, Error, False, Long, Minus, NullText, Zero};

/// The answers of one API: its key, the versions this is true of, the first flexible one, and the fields, each with the
/// first version that has it.
struct Shape {
    key: i16,
    versions: (i16, i16),
    flexible: i16,
    error: ErrorCode,
    parts: &'static [(i16, Part)],
}

const NEVER: i16 = i16::MAX;

const fn shape(key: i16, versions: (i16, i16), flexible: i16, parts: &'static [(i16, Part)]) -> Shape {
    Shape { key, versions, flexible, error: ErrorCode::UNSUPPORTED_VERSION, parts }
}

const FIND_COORDINATOR: i16 = 10;

const SHAPES: [Shape; 19] = [
    // OffsetFetch, while its answer has one error for all.
    shape(9, (2, 7), 6, &[(3, Zero), (0, EmptyList), (0, Error)]),
    shape(FIND_COORDINATOR, (0, 3), 3, &[(1, Zero), (0, Error), (1, NullText), (0, Minus), (0, EmptyText), (0, Minus)]),
    // JoinGroup: no generation, protocol, leader, member.
    shape(
        11,
        (0, 9),
        6,
        &[
            (2, Zero),
            (0, Error),
            (0, Minus),
            (7, NullText),
            (0, EmptyText),
            (0, EmptyText),
            (9, False),
            (0, EmptyText),
            (0, EmptyList),
        ],
    ),
    // Heartbeat, LeaveGroup, SyncGroup, ListGroups.
    shape(12, (0, 4), 4, &[(1, Zero), (0, Error)]),
    shape(13, (0, 5), 4, &[(1, Zero), (0, Error), (3, EmptyList)]),
    shape(14, (0, 5), 4, &[(1, Zero), (0, Error), (5, NullText), (5, NullText), (0, EmptyList)]),
    shape(16, (0, 5), 3, &[(1, Zero), (0, Error), (0, EmptyList)]),
    // SaslHandshake and SaslAuthenticate: nothing of that on a port without authentication, as Apache says it.
    Shape {
        key: 17,
        versions: (0, 1),
        flexible: NEVER,
        error: ErrorCode::ILLEGAL_SASL_STATE,
        parts: &[(0, Error), (0, EmptyList)],
    },
    Shape {
        key: 36,
        versions: (0, 2),
        flexible: 2,
        error: ErrorCode::ILLEGAL_SASL_STATE,
        parts: &[(0, Error), (0, NullText), (0, EmptyList), (1, Long)],
    },
    // AddOffsetsToTxn, EndTxn.
    shape(25, (0, 4), 3, &[(0, Zero), (0, Error)]),
    shape(26, (0, 4), 3, &[(0, Zero), (0, Error)]),
    // DescribeAcls.
    shape(29, (0, 3), 2, &[(0, Zero), (0, Error), (0, NullText), (0, EmptyList)]),
    // ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments.
    shape(43, (1, 2), 2, &[(0, Zero), (0, Error), (0, EmptyList)]),
    shape(45, (0, 0), 0, &[(0, Zero), (0, Error), (0, NullText), (0, EmptyList)]),
    shape(46, (0, 0), 0, &[(0, Zero), (0, Error), (0, NullText), (0, EmptyList)]),
    // OffsetDelete.
    shape(47, (0, 0), NEVER, &[(0, Error), (0, Zero), (0, EmptyList)]),
    // DescribeUserScramCredentials, UpdateFeatures, ListTransactions.
    shape(50, (0, 0), 0, &[(0, Zero), (0, Error), (0, NullText), (0, EmptyList)]),
    shape(57, (0, 1), 0, &[(0, Zero), (0, Error), (0, NullText), (0, EmptyList)]),
    shape(66, (0, 1), 0, &[(0, Zero), (0, Error), (0, EmptyList), (0, EmptyList)]),
];

/// The answer, or nothing if the connection has to be closed.
pub(super) fn answer(asked: Asked, frame: Bytes) -> Option<Bytes> {
    if asked.key == FIND_COORDINATOR && (4..=6).contains(&asked.version) {
        return find_coordinators(asked, frame).ok().flatten();
    }
    let (version, fits) = (asked.version, |shape: &&Shape| {
        shape.key == asked.key && (shape.versions.0..=shape.versions.1).contains(&asked.version)
    });
    let shape = SHAPES.iter().find(fits)?;
    let flexible = version >= shape.flexible;
    let mut writer = Writer::with_capacity(64);
    writer.i32(asked.correlation);
    if flexible {
        writer.u8(0);
    }
    for (_, part) in shape.parts.iter().filter(|(since, _)| *since <= version) {
        match part {
            Part::Error => writer.i16(shape.error.0),
            Part::Zero => writer.i32(0),
            Part::Minus => writer.i32(-1),
            Part::False => writer.bool(false),
            Part::Long => writer.i64(0),
            Part::EmptyText | Part::EmptyList if flexible => writer.u8(1),
            Part::EmptyText => writer.i16(0),
            Part::EmptyList => writer.i32(0),
            Part::NullText if flexible => writer.u8(0),
            Part::NullText => writer.i16(-1),
        }
    }
    if flexible {
        writer.u8(0);
    }
    Some(writer.finish())
}

/// From version 4 on a FindCoordinator asks for several keys, and each has its own error. Of so many at most.
const KEYS: u32 = 1000;

fn find_coordinators(asked: Asked, frame: Bytes) -> Result<Option<Bytes>> {
    let mut reader = Reader::new(frame);
    reader.take(8, "the header")?;
    let client = i64::from(reader.i16()?);
    if let Some(length) = reader.count(client, 1)? {
        reader.take(length, "the client id")?;
    }
    for _ in 0..reader.uvarint()? {
        let _tag = reader.uvarint()?;
        let length = reader.uvarint()? as usize;
        reader.take(length, "a tagged field")?;
    }
    let _kind = reader.i8()?;
    let keys = reader.uvarint()?.saturating_sub(1);
    if keys > KEYS {
        return Ok(None);
    }
    let mut writer = Writer::with_capacity(64);
    writer.i32(asked.correlation);
    writer.u8(0);
    writer.i32(0);
    writer.uvarint(keys + 1);
    for _ in 0..keys {
        let length = reader.uvarint()?;
        let key = reader.take(length.saturating_sub(1) as usize, "a key")?;
        writer.uvarint(key.len() as u32 + 1);
        writer.put(&key);
        writer.i32(-1);
        writer.u8(1);
        writer.i32(-1);
        writer.i16(ErrorCode::UNSUPPORTED_VERSION.0);
        writer.u8(0);
        writer.u8(0);
    }
    writer.u8(0);
    Ok(Some(writer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(key: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        let asked = Asked { key, version, correlation: 7 };
        let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat();
        answer(asked, [&header[..], body].concat().into()).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn each_has_the_error_where_its_version_has_it() {
        let corr = [0, 0, 0, 7];
        let error = [0, 35];
        assert_eq!(ask(12, 0, b""), Some([&corr[..], &error].concat()));
        assert_eq!(ask(12, 4, b""), Some([&corr[..], &[0], &[0; 4], &error, &[0]].concat()));
        assert_eq!(ask(17, 1, b""), Some([&corr[..], &[0, 34], &[0; 4]].concat()));
        let minus = [0xff; 4];
        let old = [&corr[..], &[0; 4], &error, &[0xff, 0xff], &minus, &[0, 0], &minus].concat();
        assert_eq!(ask(10, 2, b""), Some(old));
        let join = [&corr[..], &[0], &[0; 4], &error, &minus, &[0, 1, 1, 0, 1, 1], &[0]].concat();
        assert_eq!(ask(11, 9, b""), Some(join));
        assert_eq!(ask(11, 10, b""), None);
        assert_eq!(ask(8, 2, b""), None);
    }

    #[test]
    fn every_key_of_find_coordinator_has_its_error() {
        let body = [&[0, 0][..], &[3, 2, b'a', 3, b'b', b'c'], &[0]].concat();
        let one = |key: &[u8]| [&[key.len() as u8 + 1][..], key, &[0xff; 4], &[1], &[0xff; 4], &[0, 35, 0, 0]].concat();
        let expected = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 3][..], &one(b"a"), &one(b"bc"), &[0]].concat();
        assert_eq!(ask(10, 4, &body), Some(expected));
        for cut in 0..6 {
            assert_eq!(ask(10, 4, &body[..cut]), None, "cut at {cut}");
        }
        assert_eq!(ask(10, 6, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), None, "a count that nothing follows");
    }
}
