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

    const fn exists(&self, v: Version) -> bool {
        self.since <= v.number && v.number <= self.until
    }

    /// Whether the field stands behind the others, under a tag, in the versions that have it.
    pub const fn is_tagged(&self) -> bool {
        self.tag.is_some()
    }

    /// Whether the field stands in its place among the others.
    fn is_plain(&self, v: Version) -> bool {
        self.tag.is_none() && self.exists(v)
    }

    /// The tag under which the field stands behind the others, if that is where it is.
    fn tagged(&self, v: Version) -> Option<u32> {
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

/// What can be a field's type. Its methods can be called without knowing the type: a message is read and written by one
/// function that walks its table, not by code of its own.
pub trait Value {
    /// The fewest bytes a value of this type takes.
    fn smallest(&self, v: Version) -> usize;
    /// Puts what is read in the place of this value, which is its type's default.
    fn read(&mut self, reader: &mut Reader, v: Version, field: &Field) -> Result<()>;
    fn write(&self, writer: &mut Writer, v: Version, field: &Field);
}

/// What can be null; an `Option` of it is then a field's type.
pub trait Nullable: Value + Default {
    /// `false`: there was null.
    fn read_nullable(&mut self, reader: &mut Reader, v: Version) -> Result<bool>;
    fn write_null(writer: &mut Writer, v: Version);
}

impl<T: Nullable> Value for Option<T> {
    fn smallest(&self, _: Version) -> usize {
        1
    }

    fn read(&mut self, reader: &mut Reader, v: Version, field: &Field) -> Result<()> {
        let mut value = T::default();
        let present = if v.number < field.null_since {
            value.read(reader, v, field).map(|()| true)
        } else {
            value.read_nullable(reader, v)
        };
        *self = present?.then_some(value);
        Ok(())
    }

    fn write(&self, writer: &mut Writer, v: Version, field: &Field) {
        match self {
            Some(value) => value.write(writer, v, field),
            None if v.number < field.null_since => T::default().write(writer, v, field),
            None => T::write_null(writer, v),
        }
    }
}

/// What is done to each field of a message in its order: to those that have a tag, only if they are not at their default.
pub type Visit<'a> = dyn FnMut(&'static Field, &dyn Value) + 'a;
/// As [`Visit`], to every field, and may change it.
pub type VisitMut<'a> = dyn FnMut(&'static Field, &mut dyn Value) + 'a;

/// What `message!` makes: fields in a table.
pub trait Message {
    fn walk(&self, visit: &mut Visit<'_>);
    fn walk_mut(&mut self, visit: &mut VisitMut<'_>);
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
}

/// The fewest bytes a message takes.
pub fn smallest(message: &dyn Message, v: Version) -> usize {
    let mut smallest = usize::from(v.flexible);
    message.walk(&mut |field, value| {
        if field.is_plain(v) {
            smallest += value.smallest(v);
        }
    });
    smallest
}

/// Reads a message into its default: the fields in their order, then those with tags.
pub fn read(message: &mut dyn Message, reader: &mut Reader, v: Version) -> Result<()> {
    let mut result = Ok(());
    message.walk_mut(&mut |field, value| {
        if result.is_ok() && field.is_plain(v) {
            result = value.read(reader, v, field);
        }
    });
    result?;
    if v.flexible {
        *message.tags_mut() = read_tags(reader, &mut |tag, reader| {
            let mut known = Ok(false);
            message.walk_mut(&mut |field, value| {
                if field.tagged(v) == Some(tag) {
                    known = value.read(reader, v, field).map(|()| true);
                }
            });
            known
        })?;
    }
    Ok(())
}

/// Writes a message: the fields in their order, then those with tags that are not at their default.
pub fn write(message: &dyn Message, writer: &mut Writer, v: Version) {
    let mut known = 0;
    message.walk(&mut |field, value| {
        if field.is_plain(v) {
            value.write(writer, v, field);
        }
        known += u32::from(field.tagged(v).is_some());
    });
    if v.flexible {
        let mut unknown = message.tags().as_slice();
        writer.uvarint(known + unknown.len() as u32);
        if known > 0 {
            message.walk(&mut |field, value| {
                if let Some(tag) = field.tagged(v) {
                    write_unknown_below(tag, &mut unknown, writer);
                    writer.uvarint(tag);
                    writer.length_prefixed(|writer| value.write(writer, v, field));
                }
            });
        }
        write_unknown_below(u32::MAX, &mut unknown, writer);
    }
}

/// Numbers, and types that wear one.
macro_rules! numbers {
    ($($name:ty: $method:ident $size:literal $(as $wrap:path)?;)*) => { $(
        impl Value for $name {
            fn smallest(&self, _: Version) -> usize {
                $size
            }
            fn read(&mut self, reader: &mut Reader, _: Version, _: &Field) -> Result<()> {
                *self = reader.$method()$(.map($wrap))??;
                Ok(())
            }
            fn write(&self, writer: &mut Writer, _: Version, _: &Field) {
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
    fn smallest(&self, _: Version) -> usize {
        16
    }
    fn read(&mut self, reader: &mut Reader, _: Version, _: &Field) -> Result<()> {
        *self = reader.bytes16()?;
        Ok(())
    }
    fn write(&self, writer: &mut Writer, _: Version, _: &Field) {
        writer.put(self);
    }
}

impl Value for TopicId {
    fn smallest(&self, v: Version) -> usize {
        self.0.smallest(v)
    }
    fn read(&mut self, reader: &mut Reader, v: Version, field: &Field) -> Result<()> {
        self.0.read(reader, v, field)
    }
    fn write(&self, writer: &mut Writer, v: Version, field: &Field) {
        self.0.write(writer, v, field);
    }
}

/// Kafka refuses longer strings, also where their length is a varint.
const LONGEST_STRING: usize = i16::MAX as usize;

fn read_str(reader: &mut Reader, v: Version) -> Result<Option<&str>> {
    let declared = if v.flexible { i64::from(reader.uvarint()?) - 1 } else { i64::from(reader.i16()?) };
    match reader.count(declared, 1)? {
        None => Ok(None),
        Some(length) if length > LONGEST_STRING => reader.malformed("a string of at most 32767 bytes"),
        Some(length) => reader.text(length).map(Some),
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
            fn smallest(&self, v: Version) -> usize {
                if v.flexible { 1 } else { 2 }
            }
            fn read(&mut self, reader: &mut Reader, v: Version, _: &Field) -> Result<()> {
                match self.read_nullable(reader, v)? {
                    true => Ok(()),
                    false => reader.malformed("a string that is not null"),
                }
            }
            fn write(&self, writer: &mut Writer, v: Version, _: &Field) {
                write_str(self, writer, v);
            }
        }
        impl Nullable for $name {
            fn read_nullable(&mut self, reader: &mut Reader, v: Version) -> Result<bool> {
                let text = read_str(reader, v)?;
                let present = text.is_some();
                if let Some(text) = text {
                    *self = text.into();
                }
                Ok(present)
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
    fn smallest(&self, v: Version) -> usize {
        if v.flexible { 1 } else { 4 }
    }

    fn read(&mut self, reader: &mut Reader, v: Version, _: &Field) -> Result<()> {
        match self.read_nullable(reader, v)? {
            true => Ok(()),
            false => reader.malformed("bytes that are not null"),
        }
    }

    fn write(&self, writer: &mut Writer, v: Version, _: &Field) {
        write_count(self.len(), writer, v);
        writer.put_shared(self);
    }
}

impl Nullable for Bytes {
    fn read_nullable(&mut self, reader: &mut Reader, v: Version) -> Result<bool> {
        let Some(length) = read_count(reader, v, 1)? else { return Ok(false) };
        *self = reader.take(length, "bytes")?;
        Ok(true)
    }

    fn write_null(writer: &mut Writer, v: Version) {
        write_null_count(writer, v);
    }
}

/// An array, without its elements' type.
trait Array {
    fn len(&self) -> usize;
    fn at(&self, at: usize) -> &dyn Value;
    /// The fewest bytes an element takes.
    fn smallest_element(&self, v: Version) -> usize;
    fn make_room(&mut self, count: usize);
    /// Appends a default.
    fn grow(&mut self) -> &mut dyn Value;
}

impl<T: Value + Default> Array for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn at(&self, at: usize) -> &dyn Value {
        &self[at]
    }

    fn smallest_element(&self, v: Version) -> usize {
        T::default().smallest(v)
    }

    fn make_room(&mut self, count: usize) {
        // A hostile count costs what its elements would fill, a megabyte at most; honest ones grow from there.
        self.reserve_exact(count.min((1 << 20) / size_of::<T>().max(1)));
    }

    fn grow(&mut self) -> &mut dyn Value {
        let at = self.len();
        self.push(T::default());
        &mut self[at]
    }
}

fn read_array(array: &mut dyn Array, reader: &mut Reader, v: Version) -> Result<bool> {
    let Some(count) = read_count(reader, v, array.smallest_element(v))? else { return Ok(false) };
    array.make_room(count);
    for _ in 0..count {
        array.grow().read(reader, v, &ALL)?;
    }
    Ok(true)
}

fn write_array(array: &dyn Array, writer: &mut Writer, v: Version) {
    write_count(array.len(), writer, v);
    for at in 0..array.len() {
        array.at(at).write(writer, v, &ALL);
    }
}

impl<T: Value + Default> Value for Vec<T> {
    fn smallest(&self, v: Version) -> usize {
        if v.flexible { 1 } else { 4 }
    }

    fn read(&mut self, reader: &mut Reader, v: Version, _: &Field) -> Result<()> {
        match read_array(self, reader, v)? {
            true => Ok(()),
            false => reader.malformed("an array that is not null"),
        }
    }

    fn write(&self, writer: &mut Writer, v: Version, _: &Field) {
        write_array(self, writer, v);
    }
}

impl<T: Value + Default> Nullable for Vec<T> {
    fn read_nullable(&mut self, reader: &mut Reader, v: Version) -> Result<bool> {
        read_array(self, reader, v)
    }

    fn write_null(writer: &mut Writer, v: Version) {
        write_null_count(writer, v);
    }
}

/// Reads the tagged fields behind a struct. `known` reads one that it knows and says so.
pub fn read_tags(reader: &mut Reader, known: &mut dyn FnMut(u32, &mut Reader) -> Result<bool>) -> Result<Tags> {
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

/// Writes the unknown tagged fields that stand before this tag, and leaves the rest.
fn write_unknown_below(tag: u32, unknown: &mut &[(u32, Bytes)], writer: &mut Writer) {
    while let Some(((next, value), rest)) = unknown.split_first().filter(|((next, _), _)| *next <= tag) {
        writer.uvarint(*next);
        writer.uvarint(value.len() as u32);
        writer.put(value);
        *unknown = rest;
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
            #[inline(never)]
            fn default() -> Self {
                Self {
                    $( $field: message!(@default $($default)?), )*
                    tags: Default::default(),
                }
            }
        }

        impl $(<$r: $crate::api::kafka::table::Nullable + PartialEq>)? $crate::api::kafka::table::Message for $name $(<$r>)? {
            fn walk(&self, visit: &mut $crate::api::kafka::table::Visit<'_>) {
                use $crate::api::kafka::table::*;
                $( if const { !$at.is_tagged() } || {
                    let default: $ty = message!(@default $($default)?);
                    self.$field != default
                } {
                    visit(const { &$at }, &self.$field);
                } )*
            }

            fn walk_mut(&mut self, visit: &mut $crate::api::kafka::table::VisitMut<'_>) {
                use $crate::api::kafka::table::*;
                $( visit(const { &$at }, &mut self.$field); )*
            }

            fn tags(&self) -> &$crate::api::kafka::table::Tags {
                &self.tags
            }

            fn tags_mut(&mut self) -> &mut $crate::api::kafka::table::Tags {
                &mut self.tags
            }
        }

        impl $(<$r: $crate::api::kafka::table::Nullable + PartialEq>)? $crate::api::kafka::table::Value for $name $(<$r>)? {
            fn smallest(&self, v: $crate::api::kafka::table::Version) -> usize {
                $crate::api::kafka::table::smallest(self, v)
            }

            fn read(
                &mut self,
                reader: &mut $crate::codec::Reader,
                v: $crate::api::kafka::table::Version,
                _: &$crate::api::kafka::table::Field,
            ) -> $crate::codec::Result<()> {
                $crate::api::kafka::table::read(self, reader, v)
            }

            fn write(
                &self,
                writer: &mut $crate::codec::Writer,
                v: $crate::api::kafka::table::Version,
                _: &$crate::api::kafka::table::Field,
            ) {
                $crate::api::kafka::table::write(self, writer, v);
            }
        }
    )* };
}
pub(super) use message;
