//! The records of a fetched batch, whatever it was compressed with. Brokers store bodies as producers sent them, so only
//! readers need this.

use bytes::{Bytes, BytesMut};
use glasshouse_core::record::batch::{Batch, BatchError, Compression, HEADER_BYTES, LENGTH_END, Records};
use std::io::{self, Error, Read};

/// The most bytes a body may grow to: a few compressed bytes may claim gigabytes.
const LONGEST: u64 = 256 << 20;
/// Where the attributes stand; their lowest three bits name the codec.
const ATTRIBUTES_AT: usize = 21;
/// What the Java library puts before its blocks: a magic, then two version numbers.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;

/// Reads them one by one.
///
/// # Errors
/// The body is not what its codec says, or the codec is unknown.
pub(super) fn records(batch: &Batch) -> Result<Records, String> {
    let codec = batch.header.attributes.compression();
    let body = &batch.bytes[HEADER_BYTES..];
    let unpacked = match codec {
        Compression::None => return batch.records().map_err(|error| error.to_string()),
        Compression::Gzip => read(flate2::read::MultiGzDecoder::new(body)),
        Compression::Snappy => snappy(body),
        Compression::Lz4 => read(lz4_flex::frame::FrameDecoder::new(body)),
        Compression::Zstd => ruzstd::decoding::StreamingDecoder::new(body).map_err(Error::other).and_then(read),
        Compression::Unknown(_) => return Err(BatchError::Compressed(codec).to_string()),
    };
    let unpacked = unpacked.map_err(|error| format!("a body that is no {codec}: {error}"))?;
    plain(batch, &unpacked).and_then(|batch| batch.records()).map_err(|error| error.to_string())
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() as u64 > LONGEST { Err(too_long()) } else { Ok(unpacked) }
}

fn too_long() -> Error {
    Error::other(format!("more than {LONGEST} bytes"))
}

/// One raw block, or, behind the header of the Java library, blocks with their lengths.
fn snappy(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    if !body.starts_with(XERIAL) {
        block(body, &mut unpacked)?;
        return Ok(unpacked);
    }
    let mut rest = body.get(XERIAL_HEADER..).ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        block(behind.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?, &mut unpacked)?;
        rest = &behind[length..];
    }
    Ok(unpacked)
}

fn block(block: &[u8], unpacked: &mut Vec<u8>) -> io::Result<()> {
    let length = snap::raw::decompress_len(block).map_err(Error::other)?;
    if (unpacked.len() + length) as u64 > LONGEST {
        return Err(too_long());
    }
    unpacked.extend(snap::raw::Decoder::new().decompress_vec(block).map_err(Error::other)?);
    Ok(())
}

/// The same batch with a plain body. Its checksum is not made anew; it was verified as it came.
fn plain(batch: &Batch, body: &[u8]) -> Result<Batch, BatchError> {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&batch.bytes[..HEADER_BYTES]);
    bytes.extend_from_slice(body);
    let length = (bytes.len() - LENGTH_END) as i32;
    bytes[LENGTH_END - 4..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let attributes = batch.header.attributes.0 & !0x07;
    bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    Batch::take(&Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::record::batch::{BatchBuilder, NewRecord};
    use std::io::Write;

    /// Frames with one block of raw bytes: what a zstd encoder makes of what it cannot shorten.
    fn zstd_raw(body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x80 | 0x20];
        frame.extend((body.len() as u32).to_le_bytes());
        frame.extend(&(((body.len() as u32) << 3) | 1).to_le_bytes()[..3]);
        frame.extend(body);
        frame
    }

    fn packed(codec: i16, pack: impl FnOnce(&[u8]) -> Vec<u8>) -> Batch {
        let build = (0..20).map(|n| NewRecord::new(n, None, Some(format!("value {n}").as_bytes())));
        let bytes = BatchBuilder::default().records(build).build();
        let body = pack(&bytes[HEADER_BYTES..]);
        let mut packed = bytes[..HEADER_BYTES].to_vec();
        packed.extend(body);
        let length = (packed.len() - LENGTH_END) as i32;
        packed[LENGTH_END - 4..LENGTH_END].copy_from_slice(&length.to_be_bytes());
        packed[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&codec.to_be_bytes());
        Batch::take(&packed.into()).unwrap()
    }

    fn check(batch: &Batch) {
        let values: Vec<_> = records(batch).unwrap().map(|record| record.unwrap().value.unwrap()).collect();
        assert_eq!((values.len(), &values[19][..]), (20, &b"value 19"[..]));
    }

    #[test]
    fn every_codec_is_read() {
        check(&packed(0, <[u8]>::to_vec));
        check(&packed(1, |body| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(body).unwrap();
            gzip.finish().unwrap()
        }));
        let snappy = |body: &[u8]| snap::raw::Encoder::new().compress_vec(body).unwrap();
        check(&packed(2, snappy));
        check(&packed(2, |body| {
            let mut java = [XERIAL, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
            for part in [&body[..30], &body[30..]] {
                let part = snappy(part);
                java.extend((part.len() as u32).to_be_bytes());
                java.extend(part);
            }
            java
        }));
        check(&packed(3, |body| {
            let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
            lz4.write_all(body).unwrap();
            lz4.finish().unwrap()
        }));
        check(&packed(4, zstd_raw));
    }

    #[test]
    fn nonsense_is_refused() {
        for codec in 1..=5 {
            let nonsense = packed(codec, |_| b"\x82SNAPPY\0and nonsense behind it".to_vec());
            assert!(records(&nonsense).is_err(), "{codec}");
        }
        assert!(records(&packed(2, |_| b"\xff\xff\xff\xff\x0f".to_vec())).is_err(), "4 GiB in five bytes");
    }
}
