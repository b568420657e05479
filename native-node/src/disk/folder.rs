//! Taking a node's folder: the lock against a second process, whose folder it is, and what lies in it.

use super::slot::Leftover;
use super::waste::{self, Piece};
use super::{Identity, seal};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "glasshouse.lock";
const IDENTITY: &str = "glasshouse.identity";
const IDENTITY_ASIDE: &str = "glasshouse.identity.0.tmp";
/// What a file system puts into its root.
const NOT_OURS: &str = "lost+found";
/// How long a node that starts again in the same process waits for its predecessor's last write.
const PATIENCE: Duration = Duration::from_secs(1);

/// Held for as long as anything may be written into the folder; the system lets go of it when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// A file that lies in the folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Below the folder, with `/` between its parts.
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) inode: u64,
}

/// What lies in the folder.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) files: Vec<Found>,
    pub(super) folders: Vec<PathBuf>,
    /// Was removed, and not unlinked.
    pub(super) waste: Vec<Piece>,
    leftovers: Vec<(PathBuf, Leftover)>,
}

/// Makes the folder if there is none, locks it, checks whose it is, and looks what is in it.
///
/// # Errors
/// One sentence for the operator.
pub(super) fn take(folder: &Path, identity: &Identity) -> Result<(Lock, Contents), String> {
    let unusable = |error: io::Error| format!("the folder {} cannot be used: {error}", folder.display());
    let made = !folder.exists();
    fs::create_dir_all(folder).map_err(unusable)?;
    // Before anything is written into it: somebody may have named the wrong folder.
    if !folder.join(IDENTITY).exists()
        && let Some(stranger) = subfolder(folder).map_err(unusable)?
    {
        return Err(format!(
            "the folder {} is no node's: it has no {IDENTITY}, but holds {stranger}; name an empty one",
            folder.display()
        ));
    }
    let lock = lock(folder)?;
    check(folder, identity)?;
    let mut contents = Contents::default();
    contents.walk(folder, "").map_err(unusable)?;
    contents.finish(folder).map_err(unusable)?;
    for found in &contents.files {
        let path = folder.join(&found.name);
        if !seal::holds(&path, &found.name).map_err(unusable)? {
            return Err(format!("{} is damaged: it does not hold what was written into it", path.display()));
        }
    }
    if made {
        // So that the folder itself survives a power loss.
        folder.parent().map_or(Ok(()), sync).map_err(unusable)?;
    }
    Ok((lock, contents))
}

/// The name of some folder in it.
fn subfolder(folder: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != NOT_OURS && entry.file_type()?.is_dir() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn sync(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn lock(folder: &Path) -> Result<Lock, String> {
    let path = folder.join(LOCK);
    let cannot = |error: io::Error| format!("the lock file {} cannot be used: {error}", path.display());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
    let me = std::process::id().to_string();
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = holder.trim();
                if holder != me {
                    return Err(format!("another process ({holder}) holds the folder {}", folder.display()));
                }
                if began.elapsed() > PATIENCE {
                    return Err(format!("another node of this process ({me}) holds the folder {}", folder.display()));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    file.set_len(0).and_then(|()| file.write_all(me.as_bytes())).map_err(cannot)?;
    Ok(Lock { _file: file })
}

/// Puts a file into a folder, durable, whole or not at all; until it is, it has its name aside.
///
/// # Errors
/// Of the disk.
pub(crate) fn put(folder: &Path, name: &str, aside: &str, contents: &[u8]) -> io::Result<()> {
    let aside = folder.join(aside);
    let mut file = File::create(&aside)?;
    file.write_all(contents)?;
    file.sync_data()?;
    fs::rename(&aside, folder.join(name))?;
    sync(folder)
}

/// Whose folder it is; written at the first start.
fn check(folder: &Path, identity: &Identity) -> Result<(), String> {
    let path = folder.join(IDENTITY);
    let cannot = |error: io::Error| format!("{} cannot be used: {error}", path.display());
    let Identity { cluster, node } = identity;
    let text = format!("version=1\nnode={node}\ncluster={cluster}\n");
    let mine = format!("{text}sum={:08x}\n", crc32c::crc32c(text.as_bytes()));
    let found = match fs::read(&path) {
        Ok(found) => String::from_utf8_lossy(&found).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return put(folder, IDENTITY, IDENTITY_ASIDE, mine.as_bytes()).map_err(cannot);
        }
        Err(error) => return Err(cannot(error)),
    };
    if found == mine {
        return Ok(());
    }
    let sum = found.rfind("sum=").map(|at| format!("sum={:08x}\n", crc32c::crc32c(&found.as_bytes()[..at])));
    if sum.is_none_or(|sum| !found.ends_with(&sum)) {
        return Err(format!("{} is damaged: it does not say whose folder this is", path.display()));
    }
    let told = |key: &str| found.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Err(match (told("version"), told("node"), told("cluster")) {
        (Some("1"), Some(other), Some(of)) => format!(
            "the folder {} belongs to {other} of cluster {of}, not to {node} of cluster {cluster}",
            folder.display()
        ),
        _ => format!("the folder {} is of another version of glasshouse", folder.display()),
    })
}

impl Contents {
    fn walk(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if prefix.is_empty() && [LOCK, IDENTITY, IDENTITY_ASIDE, NOT_OURS].contains(&name.as_str()) {
                continue;
            }
            let (path, name) = (entry.path(), format!("{prefix}{name}"));
            let about = fs::metadata(&path)?;
            if about.is_dir() && prefix.is_empty() && waste::is_deleted_log(&name) {
                self.waste.push(Piece::Folder(path));
            } else if about.is_dir() {
                self.walk(&path, &format!("{name}/"))?;
                self.folders.push(path);
            } else if let Some(leftover) = Leftover::parse(&name) {
                self.leftovers.push((path, leftover));
            } else if about.is_file() && waste::is_deleted_file(&name) {
                self.waste.push(Piece::File(path));
            } else if about.is_file() {
                self.files.push(Found { name, len: about.len(), inode: about.ino() });
            }
        }
        Ok(())
    }

    /// Finishes the replacements that the end of the last process cut short, in their order.
    fn finish(&mut self, folder: &Path) -> io::Result<()> {
        let mut leftovers = std::mem::take(&mut self.leftovers);
        leftovers.sort_unstable_by_key(|(_, leftover)| leftover.number);
        for (path, leftover) in leftovers {
            let target = folder.join(&leftover.name);
            if leftover.finish(&path, &target)? {
                let about = fs::metadata(&target)?;
                self.files.retain(|found| found.name != leftover.name);
                self.files.push(Found { name: leftover.name, len: about.len(), inode: about.ino() });
            }
        }
        Ok(())
    }
}
