//! A snapshot stream, which no seal protects: what is understood must survive writing and reading, and a tree that can
//! be put together must be the one its own snapshot gives.
#![no_main]

use bytes::Bytes;
use glasshouse_core::id::Zxid;
use glasshouse_core::znode::snapshot::{SnapshotImage, Target, parse, serialize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _sealed = SnapshotImage::parse(Bytes::copy_from_slice(bytes), Target::File);
    let Ok(image) = SnapshotImage::parse(Bytes::copy_from_slice(bytes), Target::Stream) else { return };
    assert_eq!(SnapshotImage::parse(image.encode(Target::Stream), Target::Stream).as_ref(), Ok(&image));
    if let Ok(tree) = image.into_tree(Zxid(7)) {
        assert_eq!(parse(serialize(&tree, Target::Stream), Target::Stream, Zxid(7)), Ok(tree));
    }
});
