//! How the commands speak: aligned tables for people, one line of JSON for programs, and nothing on a terminal that
//! would move its cursor.

use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Something that was asked for and is not there, or is not as it should be: exit code 3.
#[derive(Debug)]
pub struct NotSo(pub String);

impl std::fmt::Display for NotSo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotSo {}

/// Standard output, buffered. People and programs read the same lines.
pub struct Out {
    to: io::BufWriter<Box<dyn Write + Send>>,
    pub json: bool,
    /// A person looks at it as it is.
    pub terminal: bool,
}

impl Out {
    pub fn new(json: bool) -> Out {
        let to = io::BufWriter::with_capacity(64 * 1024, Box::new(io::stdout()) as Box<dyn Write + Send>);
        Out { to, json, terminal: io::stdout().is_terminal() }
    }

    /// A line for people. Pass what strangers wrote through [`plain`] first.
    ///
    /// # Errors
    /// Of the output, as for all that follow.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.to, "{line}").map_err(of_output) }
    }

    /// A line for programs.
    pub fn item(&mut self, item: &Value) -> io::Result<()> {
        if self.json { writeln!(self.to, "{item}").map_err(of_output) } else { Ok(()) }
    }

    /// Bytes as they are, or, on a terminal, without what would move its cursor.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.terminal {
            true => self.to.write_all(plain_bytes(bytes).as_bytes()).map_err(of_output),
            false => self.to.write_all(bytes).map_err(of_output),
        }
    }

    /// As [`raw`](Out::raw), of what we write ourselves.
    pub fn own(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes()).map_err(of_output)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(of_output)
    }
}

/// Says that it is standard output that failed: it may be a file on a disk that is full.
pub fn of_output(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
}

/// Prints a text, and waits until it is written.
///
/// # Errors
/// Of standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(of_output)
}

/// A line on standard error. Nothing ends because it cannot be written: the disk behind it may be full, and whoever read
/// it gone.
pub fn complain(line: std::fmt::Arguments<'_>) {
    let _best_effort = writeln!(io::stderr(), "{line}");
}

/// Nobody reads any more (`| head`): the end, and no failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

/// Text with its control characters written out, as `\n` or `\u{1b}`.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => plain.push_str("\\t"),
            '\n' => plain.push_str("\\n"),
            '\r' => plain.push_str("\\r"),
            // Also those that turn the direction of writing round.
            letter
                if letter.is_control()
                    || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                plain.extend(letter.escape_unicode());
            }
            letter => plain.push(letter),
        }
    }
    plain
}

/// As [`plain`], with bytes that are no UTF-8 as `\xff`.
pub fn plain_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&plain(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Puts bytes into a JSON object: as text under `name`, or in base64 under `name_base64`; null where there are none.
pub fn put_bytes(object: &mut serde_json::Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.into(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.into(), text.into()),
        Some((bytes, Err(_))) => {
            object.insert(format!("{name}_base64"), glasshouse_core::znode::acl::base64(bytes).into())
        }
    };
}

/// A table: columns as wide as their widest cell, two spaces apart. The last column is not padded.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Cells are made [`plain`].
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// `one broker`, `2 brokers`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{202e}ü"), "a\\u{1b}[2Jb\\n\\u{202e}ü");
        assert_eq!(plain_bytes(b"ok\xff\x00\x9b"), "ok\\xff\\u{0}\\x9b");
        assert_eq!(plain("plain"), "plain");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["topic", "partitions"]);
        table.row(["a".to_owned(), "3".to_owned()]);
        table.row(["longer-name".to_owned(), "12".to_owned()]);
        assert_eq!(table.lines(), ["topic        partitions", "a            3", "longer-name  12"]);
        assert_eq!((count(1, "line", "lines"), count(2, "line", "lines")), ("1 line".into(), "2 lines".into()));
    }

    #[test]
    fn bytes_become_json() {
        let mut object = serde_json::Map::new();
        put_bytes(&mut object, "key", None);
        put_bytes(&mut object, "value", Some(b"text"));
        put_bytes(&mut object, "other", Some(&[0xff]));
        assert_eq!(Value::Object(object).to_string(), r#"{"key":null,"other_base64":"/w==","value":"text"}"#);
    }
}
