//! A txn as the log holds it: what is understood must survive writing and reading, and a tree applies it unharmed.
#![no_main]

use bytes::Bytes;
use glasshouse_core::znode::Tree;
use glasshouse_core::znode::txn::decode_txn;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(logged) = decode_txn(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode_txn(logged.encode()).as_ref(), Ok(&logged));
        Tree::new().apply(&logged.header, &logged.txn);
    }
});
