//! What is answered to requests that are not served: the crate `kafka-protocol` reads each answer, and reads out of it
//! as many errors as things were asked. In versions that it does not know any more it is only there.

use crate::allocations::peak;
use crate::hostile::bend;
use bytes::{Bytes, BytesMut};
use glasshouse_core::rng::Rng;
use glasshouse_node::net::kafka::refusal::notation::{Field, Kind, fields};
use glasshouse_node::net::kafka::refusal::{Refusal, TABLE, answer};
use kafka_protocol::messages as theirs;

/// DescribeTopicPartitions: behind what its refusal reads of it there is a cursor.
const WITH_CURSOR: i16 = 75;

/// Everything that is refused, in each of its versions.
fn refused() -> impl Iterator<Item = (&'static Refusal, i16)> {
    TABLE.iter().flat_map(|refusal| (refusal.versions.0..=refusal.versions.1).map(move |version| (refusal, version)))
}

/// A request that has two of everything, and says something of each.
struct Sample {
    body: Vec<u8>,
    flexible: bool,
    said: u8,
}

impl Sample {
    fn of(refusal: &Refusal, version: i16) -> Vec<u8> {
        let mut sample = Sample { body: Vec::new(), flexible: version >= refusal.flexible, said: 0 };
        sample.structure(&fields(refusal.asked, version), refusal.key == WITH_CURSOR);
        sample.body
    }

    fn structure(&mut self, fields: &[Field<'_>], with_cursor: bool) {
        fields.iter().for_each(|field| self.field(field));
        if with_cursor {
            self.body.push(0xff);
        }
        if self.flexible {
            self.body.push(0);
        }
    }

    fn field(&mut self, field: &Field<'_>) {
        self.said = self.said % 100 + 1;
        let said = self.said;
        match &field.kind {
            Kind::Plain(Some("text")) if self.flexible => self.body.extend([3, b'n', said]),
            Kind::Plain(Some("text")) => self.body.extend([0, 2, b'n', said]),
            Kind::Plain(Some("bytes")) => self.body.extend([3, b'n', said]),
            // A producer that does not exist is -1, and so are most things.
            Kind::Plain(Some("i8")) => self.body.push(1),
            Kind::Plain(Some("i16")) => self.body.extend([0, said]),
            Kind::Plain(Some("i32")) => self.body.extend([0, 0, 0, said]),
            Kind::Plain(Some("i64" | "f64")) => self.body.extend([0, 0, 0, 0, 0, 0, 0, said]),
            Kind::Plain(other) => panic!("{other:?} of {}", field.name),
            Kind::Structs(fields) => {
                self.two();
                (0..2).for_each(|_| self.structure(fields, false));
            }
            Kind::Values(one) => {
                self.two();
                (0..2).for_each(|_| self.field(one));
            }
        }
    }

    fn two(&mut self) {
        self.body.extend(if self.flexible { &[3][..] } else { &[0, 0, 0, 2] });
    }
}

fn frame(refusal: &Refusal, version: i16, body: &[u8]) -> Bytes {
    let header = [&refusal.key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0, 2, b'm', b'e']].concat();
    let tags: &[u8] = if version >= refusal.flexible { &[0] } else { &[] };
    [&header[..], tags, body].concat().into()
}

/// How many errors there are, if there are two of each thing that was asked.
fn errors(fields: &[Field<'_>]) -> usize {
    let of = |field: &Field<'_>| match &field.kind {
        Kind::Plain(_) => usize::from(field.name == "error"),
        Kind::Structs(inner) if field.name == "one" => errors(inner),
        Kind::Structs(inner) if field.name.contains(['/', '+']) => 4 * errors(inner),
        Kind::Structs(inner) => 2 * errors(inner),
        Kind::Values(_) => 0,
    };
    fields.iter().map(of).sum()
}

#[test]
fn each_answer_is_read_by_the_other_implementation_with_an_error_for_everything_that_was_asked() {
    let mut read = 0;
    for (refusal, version) in refused() {
        let name = format!("key {} version {version}", refusal.key);
        let body = Sample::of(refusal, version);
        let told = answer(frame(refusal, version, &body)).unwrap_or_else(|| panic!("{name} is not answered"));
        assert_eq!(told[..4], [0, 0, 0, 7], "{name}");
        let Ok(key) = theirs::ApiKey::try_from(refusal.key) else { continue };
        let known = key.valid_versions();
        if !(known.min..=known.max).contains(&version) {
            continue;
        }
        if !refusal.asked.is_empty() {
            let mut rest = Bytes::from(body);
            theirs::RequestKind::decode(key, &mut rest, version).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(rest.is_empty(), "{name}: the request goes on: {rest:02x?}");
        }
        let header = if version >= refusal.flexible { 5 } else { 4 };
        let mut rest = told.slice(header..);
        let response = theirs::ResponseKind::decode(key, &mut rest, version)
            .unwrap_or_else(|why| panic!("{name}: {why} in {told:02x?}"));
        assert!(rest.is_empty(), "{name}: {rest:02x?} follow");
        let mut back = BytesMut::new();
        response.encode(&mut back, version).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(back, told.slice(header..), "{name}");
        let said = format!("{response:?}");
        let found = said.matches(&format!("error_code: {}", refusal.error.0)).count();
        assert_eq!(found, errors(&fields(refusal.answer, version)), "{name}: {said}");
        read += 1;
    }
    assert!(read > 130, "only {read} answers were read");
}

#[test]
fn all_of_kafka_3_9_that_is_a_clients_to_ask_is_served_or_answered() {
    // What brokers and controllers say to each other.
    const THEIR_OWN: [i16; 16] = [4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82];
    // Produce, Metadata, ApiVersions and DescribeCluster are served in all versions.
    const SERVED: [i16; 4] = [0, 3, 18, 60];
    let refused: Vec<i16> = TABLE.iter().map(|refusal| refusal.key).collect();
    assert!(refused.is_sorted());
    // 76 to 79 are groups that share, of which 3.9 has a sketch that is not switched on.
    for key in (0..=81).filter(|key| !(76..=79).contains(key)) {
        let places = [&THEIR_OWN[..], &SERVED, &refused].map(|keys| keys.contains(&key));
        assert_eq!(places.iter().filter(|is| **is).count(), 1, "key {key}: {places:?}");
    }
}

#[test]
fn bent_requests_are_answered_or_not_but_never_hurt() {
    let root = Rng::new(0x7265_6675);
    let mut verdicts = [0u32; 2];
    for (refusal, version) in refused().filter(|(refusal, _)| !refusal.asked.is_empty()) {
        let whole = frame(refusal, version, &Sample::of(refusal, version));
        let mut rng = root.fork(&format!("{} {version}", refusal.key));
        for _ in 0..50 {
            let mut bytes = whole.to_vec();
            for _ in 0..rng.range(1, 3) {
                bend(&mut bytes, &mut rng);
            }
            let bytes = Bytes::from(bytes);
            let limit = bytes.len() as u64 * 256 + 16384;
            let (held, told) = peak(|| answer(bytes.clone()));
            assert!(held <= limit, "{} bytes made it hold {held}: {bytes:02x?}", bytes.len());
            verdicts[usize::from(told.is_some())] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 500), "{verdicts:?}");
}
