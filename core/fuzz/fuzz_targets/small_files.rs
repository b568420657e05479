//! The small files of a broker's and a keeper's disk: what is understood must survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::record::offset::Offset;
use glasshouse_core::record::producer::ProducerSnapshot;
use glasshouse_core::store::journal::snapshot::Marker;
use glasshouse_core::store::small_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = small_file::offsets_from_bytes(bytes) {
        assert_eq!(small_file::offsets_from_bytes(&small_file::offsets_to_bytes(&read)), Ok(read));
    }
    if let Ok(read) = small_file::epochs_from_bytes(bytes) {
        assert_eq!(small_file::epochs_from_bytes(&small_file::epochs_to_bytes(&read)), Ok(read));
    }
    if let Some((id, cluster)) = small_file::meta_from_bytes(bytes) {
        assert_eq!(small_file::meta_from_bytes(&small_file::meta_to_bytes(id, &cluster)), Some((id, cluster)));
    }
    if let Some(id) = small_file::topic_id_from_bytes(bytes) {
        let again = format!("version: 0\ntopic_id: {id}");
        assert_eq!(small_file::topic_id_from_bytes(again.as_bytes()), Some(id));
    }
    if let Some(read) = Marker::parse(bytes) {
        assert_eq!(Marker::parse(&read.to_bytes()), Some(read));
    }
    if let Ok(read) = ProducerSnapshot::from_bytes(Offset(7), Bytes::copy_from_slice(bytes)) {
        assert_eq!(ProducerSnapshot::from_bytes(Offset(7), read.to_bytes()), Ok(read));
    }
});
