//! The scenario texts that lie in a folder of `tests/`, for the tests that run them.

use std::fs;
use std::path::{Path, PathBuf};

/// One text file and what it says.
#[derive(Clone, Debug)]
pub struct Text {
    pub file: PathBuf,
    /// From the folder it was found in, such as `zab/elect.txt`.
    pub name: String,
    pub text: String,
}

/// Every `.txt` below `tests/FOLDER`, in order of name.
pub fn below(folder: &str) -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut texts = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of tests/ can be read").flatten() {
            let file = entry.path();
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|extension| extension == "txt") {
                let text = fs::read_to_string(&file).expect("a text can be read");
                let inside = file.strip_prefix(&root).expect("it was found below the root");
                texts.push(Text { name: inside.to_string_lossy().replace('\\', "/"), text, file: file.clone() });
            }
        }
    }
    texts.sort_by(|a, b| a.name.cmp(&b.name));
    texts
}

impl Text {
    /// What its comments of the form `# WORD: …` say, in order.
    pub fn remarks<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(": "))
    }
}
