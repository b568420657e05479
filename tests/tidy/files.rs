//! The repository's own text files, and the few questions the tidy tests ask of Rust source.
//!
//! Reads source line by line, as a person skims it. Knows nothing of Rust's grammar beyond comments, `mod` and `fn`.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written by hand.
const NOT_OURS: &[&str] = &["target", "dist", ".git", ".tools", "node_modules", "corpus", "artifacts", "pkg"];

/// One text file of the repository.
pub struct File {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its lines that are code, counted from 1: comments are left out, and what follows `//` is cut off.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line| without_comment(line);
        self.text.lines().map(code).enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty())
    }
}

/// The line up to a `//` that stands outside a string.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            // A quoted quote, `'"'`, opens nothing.
            b'"' if at == 0 || bytes[at - 1] != b'\'' || bytes.get(at + 1) != Some(&b'\'') => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => return line[..at].trim_end(),
            _ => {}
        }
        at += 1;
    }
    line
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

/// Every text file of the repository, in order of path.
pub fn all() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name != ".git"
                && let Ok(text) = fs::read_to_string(&path)
            {
                let inside = path.strip_prefix(&root).expect("it was found below the root");
                files.push(File { path: inside.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|file| file.path == "core/src/lib.rs"), "the walk begins in the wrong place: {root:?}");
    files
}

pub fn rust() -> Vec<File> {
    all().into_iter().filter(File::is_rust).collect()
}

/// The names that a line takes from the crate's root: `crate::x` and each of `crate::{x, y::z}`.
pub fn rooms_used(line: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        // `$crate::x` in a macro counts too; `glasshouse_crate::` would not be ours.
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(list.split('}').next().unwrap_or_default().split(',').map(first_word)),
            None => rooms.push(first_word(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Each function's name and its text, from its `fn` to the brace that closes it at the same depth of indentation.
pub fn functions(text: &str) -> Vec<(&str, String, bool)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.split("fn ").nth(1).map(first_word).filter(|name| !name.is_empty()) else { continue };
        let before = line.split("fn ").next().unwrap_or_default().trim();
        if !["", "pub", "pub(crate)", "pub(super)", "const", "async"].contains(&before) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let closes = |l: &&str| l.trim_start().starts_with('}') && l.len() - l.trim_start().len() == indent;
        let end = match line.trim_end().ends_with('}') {
            true => at,
            false => lines[at + 1..].iter().position(closes).map_or(lines.len() - 1, |n| at + 1 + n),
        };
        let attributes = lines[..at].iter().rev().take_while(|l| l.trim_start().starts_with(['#', '/']));
        let is_test = attributes.into_iter().any(|l| l.contains("#[test]") || l.contains("#[wasm_bindgen_test"));
        found.push((name, lines[at..=end].join("\n"), is_test));
    }
    found
}
