//! Answers to what is not served: the protocol's own error, in the place where each API's answer has it.
//!
//! A client that asks although ApiVersions did not offer it learns that this version of the API is not supported, and
//! fails with that, instead of a connection that breaks again and again. Where the answer has an error for each thing
//! that was asked, the request is read as far as it names them, and never further than its bytes go.

pub mod notation;
mod table;

pub use table::{Refusal, TABLE};

use super::Asked;
use bytes::Bytes;
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::codec::{Reader, Result, Writer};
use notation::{Field, Kind, fields};

/// Values that one request may name. What clients ask has far fewer, and each costs us some tens of bytes.
const VALUES: usize = 100_000;

/// The answer, or nothing if the connection has to be closed: nobody knows the API or the version, or the request does
/// not have what it should.
pub fn answer(frame: Bytes) -> Option<Bytes> {
    let asked = Asked::of(&frame)?;
    let version = asked.version;
    let fits = |one: &&Refusal| one.key == asked.key && (one.versions.0..=one.versions.1).contains(&version);
    let refusal = TABLE.iter().find(fits)?;
    let flexible = version >= refusal.flexible;
    let named = match refusal.asked {
        "" => Struct::default(),
        written => {
            Reading { reader: Reader::new(frame), flexible, left: VALUES }.request(&fields(written, version)).ok()?
        }
    };
    let mut writing = Writing { writer: Writer::with_capacity(64), flexible, error: refusal.error };
    writing.writer.i32(asked.correlation);
    // The header's tagged fields, then the body with its own.
    writing.tags();
    writing.structure(&fields(refusal.answer, version), &named);
    writing.tags();
    Some(writing.writer.finish())
}

/// What a request names: its fields, or those of an element of a list in it.
#[derive(Debug, Default)]
struct Struct<'a>(Vec<(&'a str, Value<'a>)>);

#[derive(Debug)]
enum Value<'a> {
    /// As it arrived, which is how the answer has it: both are flexible in the same versions.
    Plain(Bytes),
    List(Vec<Struct<'a>>),
}

impl<'a> Struct<'a> {
    fn get(&self, name: &str) -> &Value<'a> {
        let found = self.0.iter().find(|(of, _)| *of == name);
        &found.unwrap_or_else(|| panic!("the request has no {name}")).1
    }

    /// The elements of a list, as answers name it.
    fn list<'s>(&'s self, name: &str) -> Vec<&'s Struct<'a>> {
        if let Some((one, other)) = name.split_once('+') {
            return [self.list(one), self.list(other)].concat();
        }
        if let Some((outer, inner)) = name.split_once('/') {
            return self.list(outer).into_iter().flat_map(|each| each.list(inner)).collect();
        }
        match self.get(name) {
            Value::List(elements) => elements.iter().collect(),
            Value::Plain(_) => panic!("{name} is no list"),
        }
    }
}

/// Reads a request.
struct Reading {
    reader: Reader,
    flexible: bool,
    /// Values that may still come.
    left: usize,
}

impl Reading {
    /// The body, behind the header.
    fn request<'a>(&mut self, fields: &[Field<'a>]) -> Result<Struct<'a>> {
        self.reader.take(8, "the header")?;
        let client = i64::from(self.reader.i16()?);
        if let Some(length) = self.reader.count(client, 1)? {
            self.reader.take(length, "the client id")?;
        }
        self.tags()?;
        self.fields(fields)
    }

    fn structure<'a>(&mut self, fields: &[Field<'a>]) -> Result<Struct<'a>> {
        let read = self.fields(fields)?;
        self.tags()?;
        Ok(read)
    }

    fn fields<'a>(&mut self, fields: &[Field<'a>]) -> Result<Struct<'a>> {
        let read = fields.iter().map(|field| Ok((field.name, self.value(field)?)));
        Ok(Struct(read.collect::<Result<_>>()?))
    }

    fn value<'a>(&mut self, field: &Field<'a>) -> Result<Value<'a>> {
        let Some(left) = self.left.checked_sub(1) else { return self.reader.malformed("a request that names less") };
        self.left = left;
        Ok(match &field.kind {
            Kind::Plain(kind) => Value::Plain(self.plain(kind.unwrap_or_default(), field.nullable)?),
            Kind::Structs(fields) => Value::List(self.list(field.nullable, |reading| reading.structure(fields))?),
            Kind::Values(one) => {
                let element = |reading: &mut Reading| Ok(Struct(vec![(one.name, reading.value(one)?)]));
                Value::List(self.list(field.nullable, element)?)
            }
        })
    }

    fn list<T>(&mut self, nullable: bool, mut read: impl FnMut(&mut Reading) -> Result<T>) -> Result<Vec<T>> {
        let declared = if self.flexible { self.compact()? } else { i64::from(self.reader.i32()?) };
        match self.reader.count(declared, 1)? {
            Some(many) => (0..many).map(|_| read(self)).collect(),
            None if nullable => Ok(Vec::new()),
            None => self.reader.malformed("a list"),
        }
    }

    fn plain(&mut self, kind: &str, nullable: bool) -> Result<Bytes> {
        let mut ahead = self.reader.clone();
        let length = match kind {
            "i8" => 1,
            "i16" => 2,
            "i32" => 4,
            "i64" | "f64" => 8,
            "uuid" => 16,
            "text" | "bytes" => {
                let declared = match kind {
                    _ if self.flexible => self.compact()?,
                    "text" => i64::from(self.reader.i16()?),
                    _ => i64::from(self.reader.i32()?),
                };
                let prefix = self.reader.position() - ahead.position();
                match self.reader.count(declared, 1)? {
                    Some(length) => prefix + length,
                    None if nullable => prefix,
                    None => return self.reader.malformed("a text that is not null"),
                }
            }
            other => panic!("{other} is no type"),
        };
        let raw = ahead.take(length, "a value")?;
        self.reader = ahead;
        Ok(raw)
    }

    /// A length, from which one was added so that null has its number.
    fn compact(&mut self) -> Result<i64> {
        Ok(i64::from(self.reader.uvarint()?) - 1)
    }

    fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.reader.uvarint()? {
            let _tag = self.reader.uvarint()?;
            let length = self.reader.uvarint()? as usize;
            self.reader.take(length, "a tagged field")?;
        }
        Ok(())
    }
}

/// Writes an answer.
struct Writing {
    writer: Writer,
    flexible: bool,
    error: ErrorCode,
}

impl Writing {
    fn structure(&mut self, fields: &[Field<'_>], named: &Struct<'_>) {
        for field in fields {
            match &field.kind {
                Kind::Plain(None) if field.name == "error" => self.writer.i16(self.error.0),
                Kind::Plain(None) if field.name == "why" => self.text(why(self.error)),
                Kind::Plain(None) => match named.get(field.name) {
                    Value::Plain(raw) => self.writer.put(raw),
                    Value::List(_) => panic!("{} is a list", field.name),
                },
                Kind::Plain(Some(kind)) => self.nothing(field.name, kind),
                Kind::Structs(fields) => self.list(field.name, fields, named),
                Kind::Values(_) => panic!("{} has nothing to say", field.name),
            }
        }
    }

    fn list(&mut self, name: &str, fields: &[Field<'_>], named: &Struct<'_>) {
        let one = Struct::default();
        let elements = if name == "one" { vec![&one] } else { named.list(name) };
        match elements.len() as u32 {
            many if self.flexible => self.writer.uvarint(many + 1),
            many => self.writer.u32(many),
        }
        for element in elements {
            self.structure(fields, element);
            self.tags();
        }
    }

    fn text(&mut self, text: &str) {
        match text.len() as u16 {
            length if self.flexible => self.writer.uvarint(u32::from(length) + 1),
            length => self.writer.u16(length),
        }
        self.writer.put(text.as_bytes());
    }

    /// What says nothing.
    fn nothing(&mut self, value: &str, kind: &str) {
        let number = || value.parse::<i64>().unwrap_or_else(|_| panic!("{value} is no number"));
        let length = match value {
            "empty" => 0,
            _ => -1,
        };
        match kind {
            "i8" => self.writer.i8(number() as i8),
            "i16" => self.writer.i16(number() as i16),
            "i32" => self.writer.i32(number() as i32),
            "i64" => self.writer.i64(number()),
            "uuid" => self.writer.put(&[0; 16]),
            "struct" => self.writer.i8(-1),
            "text" | "bytes" | "list" if self.flexible => self.writer.u8((length + 1) as u8),
            "text" => self.writer.i16(length),
            "bytes" | "list" => self.writer.i32(length.into()),
            other => panic!("{other} is no type"),
        }
    }

    /// There are none.
    fn tags(&mut self) {
        if self.flexible {
            self.writer.u8(0);
        }
    }
}

/// For the person before the client.
fn why(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::SECURITY_DISABLED => "No Authorizer is configured on the broker.",
        ErrorCode::ILLEGAL_SASL_STATE => "This listener asks nobody to authenticate.",
        _ => "This broker does not serve that.",
    }
}

#[cfg(test)]
mod tests;
