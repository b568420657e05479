//! What a folder was made for, kept in it: the cluster's name, and how many nodes it has.
//!
//! Three keepers of whom one alone is started lose what the other two decide without it, so a folder takes no other number
//! of keepers than its first. The name keeps the nodes of another cluster out: each writes it into its own folder and says
//! it to its peers.

use super::usage;
use crate::disk::put;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What all clusters were called before their folders kept a name.
const ONCE: &str = "glasshouse";

const NAME: &str = "layout.json";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    /// What its nodes call it.
    pub(super) cluster: String,
    pub(super) keepers: u8,
    /// As many as there ever were.
    pub(super) brokers: u32,
}

impl Layout {
    pub(super) fn file(data: &Path) -> PathBuf {
        data.join(NAME)
    }

    /// Of a folder that is made now.
    ///
    /// # Errors
    /// There is no entropy for its name.
    pub(super) fn draw(keepers: u8, brokers: u32) -> Result<Layout> {
        let number = getrandom::u32().context("no entropy")?;
        Ok(Layout { cluster: format!("glasshouse-{number:08x}"), keepers, brokers })
    }

    /// What the folder was made for; nothing if no cluster was ever in it.
    ///
    /// # Errors
    /// One sentence: it cannot be read.
    pub(super) fn read(data: &Path) -> Result<Option<Layout>> {
        let file = Layout::file(data);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                anyhow!("{} does not say what the folder was made for, put it back as it was: {error}", file.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Layout::guess(data),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
        }
    }

    /// Of a folder that an earlier version made, by the folders of its nodes.
    fn guess(data: &Path) -> Result<Option<Layout>> {
        let unreadable = || format!("{} cannot be read", data.display());
        let entries = match std::fs::read_dir(data) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries.with_context(unreadable)?,
        };
        let (mut keepers, mut brokers) = (0, 0);
        for entry in entries {
            let name = entry.with_context(unreadable)?.file_name();
            let numbered = name.to_str().and_then(|name| name.split_once('-'));
            match numbered.and_then(|(kind, number)| Some((kind, number.parse::<u32>().ok()?))) {
                Some(("keeper", number)) => keepers = keepers.max(u8::try_from(number).unwrap_or(u8::MAX)),
                Some(("broker", number)) => brokers = brokers.max(number),
                Some(_) | None => {}
            }
        }
        Ok((keepers > 0).then(|| Layout { cluster: ONCE.to_owned(), keepers, brokers }))
    }

    /// The folder's layout with so many nodes; brokers may join.
    ///
    /// # Errors
    /// One sentence: with so many it would lose what it holds.
    pub(super) fn with(self, data: &Path, keepers: u8, brokers: u32) -> Result<Layout> {
        let data = data.display();
        if keepers != self.keepers {
            let made = self.keepers;
            return Err(usage(format!(
                "--keepers {keepers}: {data} was made with --keepers {made}, and with another number it would lose \
                 writes; give it {made}, or name another folder"
            )));
        }
        if brokers < self.brokers {
            let made = self.brokers;
            return Err(usage(format!(
                "--brokers {brokers}: {data} was made with --brokers {made}, and fewer would miss records; give it {made} \
                 or more, or name another folder"
            )));
        }
        Ok(Layout { brokers, ..self })
    }

    /// Keeps it in the folder, whole or not at all, before anything else is in it.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn write(&self, data: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| put(data, NAME, "layout.json.new", &text))
            .with_context(|| format!("{} cannot be written", Layout::file(data).display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let number = getrandom::u64().expect("entropy");
            let folder = std::env::temp_dir().join(format!("glasshouse-layout-{number:016x}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_keeps_its_layout_and_takes_no_other() {
        let folder = Folder::new();
        let data = &folder.0;
        assert_eq!(Layout::read(data).unwrap(), None);
        assert_eq!(Layout::read(&data.join("none")).unwrap(), None);
        let made = Layout::draw(3, 2).unwrap();
        assert_ne!(made.cluster, Layout::draw(3, 2).unwrap().cluster);
        made.write(data).unwrap();
        assert_eq!(Layout::read(data).unwrap(), Some(made.clone()));

        assert_eq!(made.clone().with(data, 3, 2).unwrap(), made);
        assert_eq!(made.clone().with(data, 3, 5).unwrap(), Layout { brokers: 5, ..made.clone() });
        for (keepers, brokers, told) in [(1, 2, "--keepers 3"), (5, 2, "--keepers 3"), (3, 1, "--brokers 2")] {
            let why = made.clone().with(data, keepers, brokers).unwrap_err().to_string();
            assert!(why.contains(&format!("was made with {told}")) && why.lines().count() == 1, "{why}");
        }

        std::fs::write(Layout::file(data), "{").unwrap();
        assert!(Layout::read(data).unwrap_err().to_string().contains("put it back as it was"));
    }

    #[test]
    fn a_folder_of_an_earlier_version_keeps_its_name() {
        let folder = Folder::new();
        for name in ["keeper-1", "keeper-3", "broker-1", "broker-2", "other-9", "keeper-x"] {
            std::fs::create_dir(folder.0.join(name)).unwrap();
        }
        let layout = Layout { cluster: "glasshouse".to_owned(), keepers: 3, brokers: 2 };
        assert_eq!(Layout::read(&folder.0).unwrap(), Some(layout));
    }
}
