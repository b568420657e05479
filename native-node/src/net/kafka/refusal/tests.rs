//! Some answers, byte by byte; that all others can be read by another implementation is tested in `tests/wire`.

use super::*;

const WHY: &[u8] = b"This broker does not serve that.";

fn ask(key: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat();
    answer([&header[..], body].concat().into()).map(|bytes| bytes.to_vec())
}

#[test]
fn each_has_the_error_where_its_version_has_it() {
    let corr = [0, 0, 0, 7];
    let error = [0, 35];
    assert_eq!(ask(12, 0, b""), Some([&corr[..], &error].concat()));
    assert_eq!(ask(12, 4, b""), Some([&corr[..], &[0], &[0; 4], &error, &[0]].concat()));
    assert_eq!(ask(17, 1, b""), Some([&corr[..], &[0, 34], &[0; 4]].concat()));
    let minus = [0xff; 4];
    let old = [&corr[..], &[0; 4], &error, &[0, WHY.len() as u8], WHY, &minus, &[0, 0], &minus].concat();
    assert_eq!(ask(10, 2, b""), Some(old));
    let join = [&corr[..], &[0], &[0; 4], &error, &minus, &[0, 1, 1, 0, 1, 1], &[0]].concat();
    assert_eq!(ask(11, 9, b""), Some(join));
}

#[test]
fn what_no_kafka_knows_and_what_brokers_ask_each_other_is_not_answered() {
    for (key, version) in [(11, 10), (8, 10), (4, 7), (6, 8), (7, 3), (52, 0), (56, 3), (58, 0), (67, 0), (1000, 0)] {
        assert_eq!(ask(key, version, &[0; 64]), None, "key {key} version {version}");
    }
}

#[test]
fn every_key_of_find_coordinator_has_its_error() {
    let body = [&[0, 0][..], &[3, 2, b'a', 3, b'b', b'c'], &[0]].concat();
    let why = [&[0, 35, WHY.len() as u8 + 1][..], WHY, &[0]].concat();
    let one = |key: &[u8]| [&[key.len() as u8 + 1][..], key, &[0xff; 4], &[1], &[0xff; 4], &why].concat();
    let expected = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 3][..], &one(b"a"), &one(b"bc"), &[0]].concat();
    assert_eq!(ask(10, 4, &body), Some(expected));
    for cut in 0..6 {
        assert_eq!(ask(10, 4, &body[..cut]), None, "cut at {cut}");
    }
    assert_eq!(ask(10, 6, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), None, "a count that nothing follows");
}

#[test]
fn every_partition_of_an_offset_commit_has_its_error() {
    let offset = [&8i64.to_be_bytes()[..], &[0xff, 0xff]].concat();
    let partition = |index: i32| [&index.to_be_bytes()[..], &offset].concat();
    let asked = [&[0, 1, b'g'][..], &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2], &partition(5), &partition(6)].concat();
    let refused = |index: i32| [&index.to_be_bytes()[..], &[0, 35]].concat();
    let told = [&[0, 0, 0, 7, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2][..], &refused(5), &refused(6)].concat();
    assert_eq!(ask(8, 0, &asked), Some(told));
    for cut in 0..asked.len() {
        assert_eq!(ask(8, 0, &asked[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn lists_of_lists_and_two_lists_are_answered_as_one() {
    // AlterReplicaLogDirs 0 of two dirs; the second has nothing.
    let name = |text: &[u8]| [&[0, text.len() as u8][..], text].concat();
    let topic = [&name(b"t")[..], &[0, 0, 0, 1, 0, 0, 0, 4]].concat();
    let dirs = [&[0, 0, 0, 2][..], &name(b"/d"), &[0, 0, 0, 1], &topic, &name(b"/e"), &[0; 4]].concat();
    let told = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1][..], &name(b"t"), &[0, 0, 0, 1, 0, 0, 0, 4, 0, 35]].concat();
    assert_eq!(ask(34, 0, &dirs), Some(told));
    // AlterUserScramCredentials: anna is deleted, bob is not given a password.
    let body =
        [&[0, 2, 5][..], b"anna", &[1, 0], &[2, 4], b"bob", &[1, 0, 0, 16, 0, 2, b's', 2, b'p', 0], &[0]].concat();
    let why = [&[0, 35, WHY.len() as u8 + 1][..], WHY, &[0]].concat();
    let refused = |name: &[u8]| [&[name.len() as u8 + 1][..], name, &why].concat();
    let told = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 3][..], &refused(b"anna"), &refused(b"bob"), &[0]].concat();
    assert_eq!(ask(51, 0, &body), Some(told));
}

#[test]
fn a_request_that_names_too_much_is_not_answered() {
    // DescribeGroups 5 of groups without names: each is a byte that would be answered by twelve.
    let groups = |many: usize| {
        let count = (many + 1) as u32;
        let count = [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8];
        [&[0][..], &count, &vec![1; many], &[0, 0]].concat()
    };
    assert!(ask(15, 5, &groups(90_000)).is_some_and(|told| told.len() < 1 << 21));
    assert_eq!(ask(15, 5, &groups(100_000)), None);
}
