//! How requests and answers are written down in the table: the fields in their order, with spaces between.
//!
//! ```text
//! group:text member:text?@1 retention:i64@2-4 topics[ name:text partitions( index:i32 ) ]
//! ```
//!
//! A field has a name and a type: `i8`, `i16`, `i32`, `i64`, `f64`, `uuid`, `text` or `bytes`; with `?`, one that may be
//! null. `[ ]` holds the fields of each struct of a list, `( )` the one that a list of plain values consists of. `@1`
//! is the first version that has a field, `@2-4` the first and the last.
//!
//! In an answer a name without a type is what the request has under that name, and a list has an element for each of the
//! request's list of that name; `dirs/topics` are the topics of all the dirs, `ones+others` both lists, and `one` is a
//! list of one. `error` is the error, `why` the sentence that goes with it. What else there is says nothing: a number of
//! a type (`0:i32`), or `empty` or `null` of a text, of bytes, of a list or of a struct.

use std::str::SplitAsciiWhitespace;

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    /// Whether it may be null.
    pub nullable: bool,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Of a type, or of none: what the request has.
    Plain(Option<&'a str>),
    Structs(Vec<Field<'a>>),
    /// A list of plain values.
    Values(Box<Field<'a>>),
}

/// The fields that a version has. The table is ours: what cannot be read in it is our own mistake.
pub fn fields(written: &str, version: i16) -> Vec<Field<'_>> {
    let mut words = written.split_ascii_whitespace();
    let (fields, end) = until_end(&mut words, version);
    assert_eq!(end, None, "a bracket too many: {written}");
    fields
}

/// The fields up to a closing bracket, which is given back.
fn until_end<'a>(words: &mut SplitAsciiWhitespace<'a>, version: i16) -> (Vec<Field<'a>>, Option<&'a str>) {
    let mut fields = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with([']', ')']) {
            return (fields, Some(word));
        }
        let (field, exists) = match word.strip_suffix(['[', '(']) {
            None => plain(word, version),
            Some(name) => {
                let (inner, end) = until_end(words, version);
                let end = end.unwrap_or_else(|| panic!("{name} has no end"));
                let kind = match <[Field<'a>; 1]>::try_from(inner) {
                    Ok([one]) if end.starts_with(')') => Kind::Values(Box::new(one)),
                    Ok(one) => Kind::Structs(one.into()),
                    Err(inner) => Kind::Structs(inner),
                };
                let (_, exists) = versions(end, version);
                let (name, nullable) = question(name);
                (Field { name, nullable, kind }, exists)
            }
        };
        if exists {
            fields.push(field);
        }
    }
    (fields, None)
}

fn plain(word: &str, version: i16) -> (Field<'_>, bool) {
    let (word, exists) = versions(word, version);
    let (word, nullable) = question(word);
    let (name, kind) = word.split_once(':').map_or((word, None), |(name, kind)| (name, Some(kind)));
    (Field { name, nullable, kind: Kind::Plain(kind) }, exists)
}

fn question(word: &str) -> (&str, bool) {
    word.strip_suffix('?').map_or((word, false), |word| (word, true))
}

/// Takes the versions off a word; whether this one is among them.
fn versions(word: &str, version: i16) -> (&str, bool) {
    let Some((word, versions)) = word.split_once('@') else { return (word, true) };
    let number = |text: &str| text.parse::<i16>().unwrap_or_else(|_| panic!("{text} is no version"));
    let exists = match versions.split_once('-') {
        Some((first, last)) => (number(first)..=number(last)).contains(&version),
        None => number(versions) <= version,
    };
    (word, exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let written = "group:text member:text?@1 retention:i64@2-4 topics?[ name:text parts( index:i32 ) ]@1 error";
        let plain = |name, kind| Field { name, nullable: false, kind: Kind::Plain(kind) };
        assert_eq!(fields(written, 0), [plain("group", Some("text")), plain("error", None)]);
        let names = |version| fields(written, version).iter().map(|field| field.name).collect::<Vec<_>>();
        assert_eq!(names(1), ["group", "member", "topics", "error"]);
        assert_eq!(names(4), ["group", "member", "retention", "topics", "error"]);
        assert_eq!(names(5), names(1));
        let parts = Kind::Values(Box::new(plain("index", Some("i32"))));
        let parts = Field { name: "parts", nullable: false, kind: parts };
        let topics = Kind::Structs(vec![plain("name", Some("text")), parts]);
        assert_eq!(fields(written, 1)[2], Field { name: "topics", nullable: true, kind: topics });
    }
}
