//! Bytes made to hurt: recorded frames, cut and bent by a seeded hand. No decoder panics, none holds more memory than a
//! small multiple of what arrived, and whatever one accepts it reads back equal after writing it.

use crate::allocations::peak;
use crate::vectors::{Recorded, recorded};
use bytes::Bytes;
use glasshouse_core::api::kafka::ApiKey;
use glasshouse_core::rng::Rng;
use glasshouse_core::wire::kafka::{decode_request, decode_response, encode_request, encode_response};
use std::collections::BTreeMap;

/// An empty element can take one byte on the wire and some words in memory; the worst is an unknown tagged field of two
/// bytes, while its vector grows.
const MULTIPLE: u64 = 64;
const SLACK: u64 = 1024;

/// Decodes within the limit; what is accepted survives a round trip.
fn provoke(frame: &Recorded, asked: Option<(ApiKey, i16)>, bytes: Bytes) -> bool {
    let limit = bytes.len() as u64 * MULTIPLE + SLACK;
    let (held, accepted) = match asked {
        None => {
            let (held, request) = peak(|| decode_request(bytes.clone()));
            if let Ok(request) = &request {
                assert_eq!(decode_request(encode_request(request)).as_ref(), Ok(request));
            }
            (held, request.is_ok())
        }
        Some((key, version)) => {
            let (held, response) = peak(|| decode_response(key, version, bytes.clone()));
            if let Ok((correlation, version, body)) = &response {
                let again = decode_response(key, *version, encode_response(*version, *correlation, body));
                assert_eq!(again, response);
            }
            (held, response.is_ok())
        }
    };
    assert!(held <= limit, "{} bytes made {} {} hold {held}: {bytes:02x?}", bytes.len(), frame.api(), frame.version);
    accepted
}

/// One bad idea, applied to a frame.
pub fn bend(bytes: &mut Vec<u8>, rng: &mut Rng) {
    const NASTY: [&[u8]; 7] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x7f, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0, 0, 0x10, 0],
    ];
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(6) {
        0 => bytes.truncate(at.max(1)),
        1 => bytes[at] ^= 1 << rng.below(8),
        2 => bytes[at] = rng.next() as u8,
        3 => {
            let nasty = *rng.pick(&NASTY).unwrap();
            bytes.iter_mut().skip(at).zip(nasty).for_each(|(byte, bad)| *byte = *bad);
        }
        4 => {
            let nasty = *rng.pick(&NASTY).unwrap();
            bytes.splice(at..at, nasty.iter().copied());
        }
        _ => {
            let end = (at + rng.range(1, 32) as usize).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
    }
}

#[test]
fn bent_frames_are_refused_or_understood_but_never_hurt() {
    let frames = recorded();
    let mut asked = BTreeMap::new();
    let mut verdicts = [0u32; 2];
    let root = Rng::new(0x006b_6166_6b61);
    for (number, frame) in frames.iter().enumerate().filter(|(_, frame)| frame.api().supports(frame.version)) {
        let asked = match frame.answers {
            None => {
                asked.insert((frame.conn, frame.seq), (frame.api(), frame.version));
                None
            }
            Some(request) => Some(asked[&(frame.conn, request)]),
        };
        for length in (0..frame.bytes.len()).take(300) {
            verdicts[usize::from(provoke(frame, asked, frame.bytes.slice(..length)))] += 1;
        }
        let mut rng = root.fork(&number.to_string());
        for _ in 0..150 {
            let mut bytes = frame.bytes.to_vec();
            for _ in 0..rng.range(1, 3) {
                bend(&mut bytes, &mut rng);
            }
            // The version, too, may come to be another one that we know.
            if asked.is_none() && rng.chance(1, 4) && bytes.len() > 4 {
                let version = rng.range(0, frame.api().max_version() as u64) as i16;
                bytes[2..4].copy_from_slice(&version.to_be_bytes());
            }
            verdicts[usize::from(provoke(frame, asked, bytes.into()))] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 10_000), "refused and accepted: {verdicts:?}");
}

/// 21 bytes that make another implementation ask for 206 GB.
#[test]
fn a_count_of_two_thousand_million_costs_nothing() {
    let mut bytes = vec![0, 1, 0, 4, 0, 0, 0, 0, 0xff, 0xff];
    bytes.extend([0xff; 4]);
    bytes.extend([0; 13]);
    bytes.extend([0x7f, 0xff, 0xff, 0xff]);
    let (held, refused) = peak(|| decode_request(bytes.into()));
    assert!(refused.is_err());
    assert!(held < 256, "{held} bytes");
}

/// Elements of the fewest bytes, as many as there is room for: where memory is furthest from the wire.
#[test]
fn the_smallest_elements_stay_within_the_limit() {
    let frame = |key: u8, version: u8, before: &[u8], element: &[u8], count: u32| {
        let mut bytes = vec![0, key, 0, version, 0, 0, 0, 0, 0xff, 0xff, 0];
        bytes.extend(before);
        let mut left = count + 1;
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend(element.repeat(count as usize));
        bytes.extend([0; 8]);
        bytes
    };
    let deleted = frame(20, 5, &[], &[1], 100_000);
    let elected = frame(43, 2, &[0], &[1, 1, 0], 100_000);
    let described = frame(32, 4, &[], &[2, 1, 0, 0], 100_000);
    for bytes in [deleted, elected, described] {
        let limit = bytes.len() as u64 * MULTIPLE + SLACK;
        let (held, decoded) = peak(|| decode_request(bytes.into()));
        assert!(decoded.is_ok(), "{decoded:?}");
        assert!(held <= limit, "{} held {held}, more than {limit}", decoded.unwrap().body.name());
    }
    // Unknown tagged fields of two and three bytes, behind ApiVersions 3.
    let mut bytes = vec![0, 18, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0, 1, 1, 0x80, 0x40];
    for tag in 0u32..8192 {
        match tag {
            0..0x80 => bytes.extend([tag as u8, 0]),
            _ => bytes.extend([tag as u8 | 0x80, (tag >> 7) as u8, 0]),
        }
    }
    let limit = bytes.len() as u64 * MULTIPLE + SLACK;
    let (held, decoded) = peak(|| decode_request(bytes.into()));
    assert!(decoded.is_ok() && held <= limit, "{decoded:?} held {held}, more than {limit}");
}
