//! The table Kafka's messages are written in, and what it generates: a struct, its defaults, its reading and its
//! writing. Knows versions, nullability and tagged fields (KIP-482); knows no message and no frame.
//!
//! ```text
//! message! {
//!     Name {
//!         field: Type [versions] = default,
//!     }
//! }
//! ```
//!
//! Versions are `ALL`, `since(3)`, `until(2)`, `between(1, 4)` or `only(0)`; `.tag(0)` puts the field among the tagged
//! ones, `.null_since(1)` says that an `Option` may not be null before version 1. Without a default it is the type's
//! own. A field that a version lacks reads as its default and is not written; null where the version knows no null is
//! written as empty.

use super::ErrorCode;
use crate::codec::{Reader, Result, Writer};
use crate::id::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, ProducerEpoch, ProducerId, TopicId,
};
use crate::record::offset::Offset;
use bytes::Bytes;
use std::sync::Arc;

/// The version a message is read or written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

/// In which versions of its message a field exists, and how.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    since: i16,
    until: i16,
    null_since: i16,
    tag: Option<u32>,
}

pub const ALL: Field = Field { since: 0, until: i16::MAX, null_since: 0, tag: None };

pub const fn since(first: i16) -> Field {
    Field { since: first, ..ALL }
}

pub const fn until(last: i16) -> Field {
    Field { until: last, ..ALL }
}

pub const fn between(first: i16, last: i16) -> Field {
    Field { since: first, until: last, ..ALL }
}

pub const fn only(version: i16) -> Field {
    between(version, version)
}

impl Field {
    pub const fn tag(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }

    pub const fn null_since(self, first: i16) -> Field {
        Field { null_since: first, ..self }
    }

    const fn exists(self, v: Version) -> bool {
        self.since <= v.number && v.number <= self.until
    }

    /// Whether the field stands in its place among the others.
    #[inline(always)]
    pub const fn is_plain(self, v: Version) -> bool {
        self.tag.is_none() && self.exists(v)
    }

    /// The tag under which the field stands behind the others, if that is where it is.
    #[inline(always)]
    pub const fn tagged(self, v: Version) -> Option<u32> {
        if self.exists(v) { self.tag } else { None }
    }
}

/// Tagged fields that we do not know, as they arrived: in ascending order of their tags. Almost always none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(
    #[allow(clippy::box_collection, reason = "one word in every struct, and almost always none")]
    Option<Box<Vec<(u32, Bytes)>>>,
);

impl Tags {
    pub fn as_slice(&self) -> &[(u32, Bytes)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    fn push(&mut self, tag: u32, value: Bytes) {
        self.0.get_or_insert_default().push((tag, value));
    }
}

/// What can be a field's type.
pub trait Value: Sized {
    /// The fewest bytes a value takes.
    fn smallest(v: Version) -> usize;
    fn read(reader: &mut Reader, v: Version, field: Field) -> Result<Self>;
    fn write(&self, writer: &mut Writer, v: Version, field: Field);
}

/// What can be null; an `Option` of it is then a field's type.
pub trait Nullable: Value + Default {
    fn read_nullable(reader: &mut Reader, v: Version) -> Result<Option<Self>>;
    fn write_null(writer: &mut Writer, v: Version);
}

impl<T: Nullable> Value for Option<T> {
    fn smallest(v: Version) -> usize {
        T::smallest(v).min(1)
    }

    fn read(reader: &mut Reader, v: Version, field: Field) -> Result<Self> {
        if v.number < field.null_since { T::read(reader, v, field).map(Some) } else { T::read_nullable(reader, v) }
    }

    fn write(&self, writer: &mut Writer, v: Version, field: Field) {
        match self {
            Some(value) => value.write(writer, v, field),
            None if v.number < field.null_since => T::default().write(writer, v, field),
            None => T::write_null(writer, v),
        }
    }
}

/// Numbers, and types that wear one.
macro_rules! numbers {
    ($($name:ty: $method:ident $size:literal $(as $wrap:path)?;)*) => { $(
        impl Value for $name {
            #[inline]
            fn smallest(_: Version) -> usize {
                $size
            }
            #[inline]
            fn read(reader: &mut Reader, _: Version, _: Field) -> Result<Self> {
                reader.$method()$(.map($wrap))?
            }
            #[inline]
            fn write(&self, writer: &mut Writer, _: Version, _: Field) {
                writer.$method(numbers!(@inner self $($wrap)?));
            }
        }
    )* };
    (@inner $self:ident) => { *$self };
    (@inner $self:ident $wrap:path) => { $self.0 };
}

numbers! {
    bool: bool 1;
    i8: i8 1;
    i16: i16 2;
    i32: i32 4;
    i64: i64 8;
    ErrorCode: i16 2 as ErrorCode;
    BrokerId: i32 4 as BrokerId;
    BrokerEpoch: i64 8 as BrokerEpoch;
    ControllerEpoch: i32 4 as ControllerEpoch;
    LeaderEpoch: i32 4 as LeaderEpoch;
    PartitionEpoch: i32 4 as PartitionEpoch;
    ProducerId: i64 8 as ProducerId;
    ProducerEpoch: i16 2 as ProducerEpoch;
    Offset: i64 8 as Offset;
}

impl Value for [u8; 16] {
    fn smallest(_: Version) -> usize {
        16
    }
    fn read(reader: &mut Reader, _: Version, _: Field) -> Result<Self> {
        reader.bytes16()
    }
    fn write(&self, writer: &mut Writer, _: Version, _: Field) {
        writer.put(self);
    }
}

impl Value for TopicId {
    fn smallest(_: Version) -> usize {
        16
    }
    fn read(reader: &mut Reader, _: Version, _: Field) -> Result<Self> {
        reader.bytes16().map(TopicId)
    }
    fn write(&self, writer: &mut Writer, _: Version, _: Field) {
        writer.put(&self.0);
    }
}

/// Kafka refuses longer strings, also where their length is a varint.
const LONGEST_STRING: usize = i16::MAX as usize;

fn read_str<T: for<'a> From<&'a str>>(reader: &mut Reader, v: Version) -> Result<Option<T>> {
    let declared = if v.flexible { i64::from(reader.uvarint()?) - 1 } else { i64::from(reader.i16()?) };
    match reader.count(declared, 1)? {
        None => Ok(None),
        Some(length) if length > LONGEST_STRING => reader.malformed("a string of at most 32767 bytes"),
        Some(length) => reader.text(length).map(|text| Some(T::from(text))),
    }
}

fn write_str(text: &str, writer: &mut Writer, v: Version) {
    assert!(text.len() <= LONGEST_STRING, "a string of {} bytes; Kafka's have at most {LONGEST_STRING}", text.len());
    if v.flexible {
        writer.uvarint(text.len() as u32 + 1);
    } else {
        writer.i16(text.len() as i16);
    }
    writer.put(text.as_bytes());
}

macro_rules! strings {
    ($($name:ty)*) => { $(
        impl Value for $name {
            fn smallest(v: Version) -> usize {
                if v.flexible { 1 } else { 2 }
            }
            fn read(reader: &mut Reader, v: Version, _: Field) -> Result<Self> {
                match read_str(reader, v)? {
                    Some(text) => Ok(text),
                    None => reader.malformed("a string that is not null"),
                }
            }
            fn write(&self, writer: &mut Writer, v: Version, _: Field) {
                write_str(self, writer, v);
            }
        }
        impl Nullable for $name {
            fn read_nullable(reader: &mut Reader, v: Version) -> Result<Option<Self>> {
                read_str(reader, v)
            }
            fn write_null(writer: &mut Writer, v: Version) {
                if v.flexible { writer.u8(0) } else { writer.i16(-1) }
            }
        }
    )* };
}

strings! { String Arc<str> }

/// A count of elements, or of bytes: a varint one higher, or an int32; `None` for null.
fn read_count(reader: &mut Reader, v: Version, smallest: usize) -> Result<Option<usize>> {
    let declared = if v.flexible { i64::from(reader.uvarint()?) - 1 } else { i64::from(reader.i32()?) };
    reader.count(declared, smallest)
}

fn write_count(count: usize, writer: &mut Writer, v: Version) {
    assert!(count < i32::MAX as usize, "{count} elements or bytes; a length has 31 bits");
    if v.flexible {
        writer.uvarint(count as u32 + 1);
    } else {
        writer.i32(count as i32);
    }
}

fn write_null_count(writer: &mut Writer, v: Version) {
    if v.flexible { writer.u8(0) } else { writer.i32(-1) }
}

/// Bytes and records: slices of what arrived, and written without a copy where they are long.
impl Value for Bytes {
    fn smallest(v: Version) -> usize {
        if v.flexible { 1 } else { 4 }
    }

    fn read(reader: &mut Reader, v: Version, _: Field) -> Result<Self> {
        match Self::read_nullable(reader, v)? {
            Some(bytes) => Ok(bytes),
            None => reader.malformed("bytes that are not null"),
        }
    }

    fn write(&self, writer: &mut Writer, v: Version, _: Field) {
        write_count(self.len(), writer, v);
        writer.put_shared(self);
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, v: Version) -> Result<Option<Self>> {
        match read_count(reader, v, 1)? {
            None => Ok(None),
            Some(length) => reader.take(length, "bytes").map(Some),
        }
    }

    fn write_null(writer: &mut Writer, v: Version) {
        write_null_count(writer, v);
    }
}

impl<T: Value> Value for Vec<T> {
    fn smallest(v: Version) -> usize {
        if v.flexible { 1 } else { 4 }
    }

    fn read(reader: &mut Reader, v: Version, _: Field) -> Result<Self> {
        match Self::read_nullable(reader, v)? {
            Some(elements) => Ok(elements),
            None => reader.malformed("an array that is not null"),
        }
    }

    fn write(&self, writer: &mut Writer, v: Version, _: Field) {
        write_count(self.len(), writer, v);
        for element in self {
            element.write(writer, v, ALL);
        }
    }
}

impl<T: Value> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, v: Version) -> Result<Option<Self>> {
        let Some(count) = read_count(reader, v, T::smallest(v))? else { return Ok(None) };
        // A hostile count costs what its elements would fill, a megabyte at most; honest ones grow from there.
        let room = (1 << 20) / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(room));
        for _ in 0..count {
            elements.push(T::read(reader, v, ALL)?);
        }
        Ok(Some(elements))
    }

    fn write_null(writer: &mut Writer, v: Version) {
        write_null_count(writer, v);
    }
}

/// Reads the tagged fields behind a struct. `known` reads one that it knows and says so.
pub fn read_tags(reader: &mut Reader, mut known: impl FnMut(u32, &mut Reader) -> Result<bool>) -> Result<Tags> {
    let mut tags = Tags::default();
    let declared = i64::from(reader.uvarint()?);
    let count = reader.count(declared, 2)?.unwrap_or(0);
    let mut last = None;
    for _ in 0..count {
        let tag = reader.uvarint()?;
        if last.is_some_and(|last| tag <= last) {
            return reader.malformed("tags in ascending order, each once");
        }
        last = Some(tag);
        let length = reader.uvarint()? as usize;
        let value = reader.take(length, "a tagged field's bytes")?;
        let mut inner = Reader::new(value.clone());
        if !known(tag, &mut inner)? {
            tags.push(tag, value);
        } else if !inner.is_empty() {
            return reader.malformed("a tagged field as long as its length says");
        }
    }
    Ok(tags)
}

/// Writes the tagged fields behind a struct: the known ones as they are offered, in ascending order, and the unknown
/// ones between them.
pub struct TagWriter<'a> {
    writer: &'a mut Writer,
    unknown: &'a [(u32, Bytes)],
}

impl<'a> TagWriter<'a> {
    pub fn new(writer: &'a mut Writer, known: u32, unknown: &'a Tags) -> TagWriter<'a> {
        let unknown = unknown.as_slice();
        writer.uvarint(known + unknown.len() as u32);
        TagWriter { writer, unknown }
    }

    pub fn known(&mut self, tag: u32, write: impl FnOnce(&mut Writer)) {
        self.unknown_below(tag);
        self.writer.uvarint(tag);
        self.writer.length_prefixed(write);
    }

    pub fn finish(mut self) {
        self.unknown_below(u32::MAX);
    }

    fn unknown_below(&mut self, tag: u32) {
        while let Some(((next, value), rest)) = self.unknown.split_first().filter(|((next, _), _)| *next <= tag) {
            self.writer.uvarint(*next);
            self.writer.uvarint(value.len() as u32);
            self.writer.put(value);
            self.unknown = rest;
        }
    }
}

/// See the head of this module.
macro_rules! message {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    ($(
        $(#[$doc:meta])*
        $name:ident $(<$r:ident = $records:ty>)? {
            $( $(#[$field_doc:meta])* $field:ident: $ty:ty [$at:expr] $(= $default:expr)?, )*
        }
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name $(<$r = $records>)? {
            $( $(#[$field_doc])* pub $field: $ty, )*
            /// Tagged fields of a newer sender.
            pub tags: $crate::api::kafka::table::Tags,
        }

        impl $(<$r>)? Default for $name $(<$r>)? {
            fn default() -> Self {
                Self {
                    $( $field: message!(@default $($default)?), )*
                    tags: Default::default(),
                }
            }
        }

        impl $(<$r: $crate::api::kafka::table::Nullable + PartialEq>)? $crate::api::kafka::table::Value
            for $name $(<$r>)?
        {
            fn smallest(v: $crate::api::kafka::table::Version) -> usize {
                use $crate::api::kafka::table::*;
                let mut smallest = usize::from(v.flexible);
                $( if const { $at }.is_plain(v) { smallest += <$ty as Value>::smallest(v); } )*
                smallest
            }

            fn read(
                reader: &mut $crate::codec::Reader,
                v: $crate::api::kafka::table::Version,
                _: $crate::api::kafka::table::Field,
            ) -> $crate::codec::Result<Self> {
                use $crate::api::kafka::table::*;
                #[allow(unused_mut)]
                let mut message = Self {
                    $( $field: if const { $at }.is_plain(v) {
                        Value::read(reader, v, $at)?
                    } else {
                        message!(@default $($default)?)
                    }, )*
                    tags: Tags::default(),
                };
                if v.flexible {
                    message.tags = read_tags(reader, |_tag, _reader| {
                        $( if const { $at }.tagged(v) == Some(_tag) {
                            message.$field = Value::read(_reader, v, $at)?;
                            return Ok(true);
                        } )*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }

            fn write(
                &self,
                writer: &mut $crate::codec::Writer,
                v: $crate::api::kafka::table::Version,
                _: $crate::api::kafka::table::Field,
            ) {
                use $crate::api::kafka::table::*;
                $( if const { $at }.is_plain(v) { self.$field.write(writer, v, $at); } )*
                if v.flexible {
                    #[allow(unused_mut)]
                    let mut known = 0;
                    $( if const { $at }.tagged(v).is_some() {
                        let default: $ty = message!(@default $($default)?);
                        known += u32::from(self.$field != default);
                    } )*
                    #[allow(unused_mut)]
                    let mut tail = TagWriter::new(writer, known, &self.tags);
                    $( if let Some(tag) = const { $at }.tagged(v) {
                        let default: $ty = message!(@default $($default)?);
                        if self.$field != default {
                            tail.known(tag, |writer| self.$field.write(writer, v, $at));
                        }
                    } )*
                    tail.finish();
                }
            }
        }
    )* };
}
pub(super) use message;
