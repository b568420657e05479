//! Znode paths: validated once, valid ever after.
//!
//! Their order is that of a walk through the tree: a node comes right before its descendants, and those before its next
//! sibling. So a subtree is one contiguous run of an ordered map.

use core::cmp::Ordering;
use core::fmt;
use std::sync::Arc;

/// A valid path: begins with `/`, has no empty, `.` or `..` segment, no slash at its end and none of the characters
/// ZooKeeper refuses (`PathUtils.validatePath`). Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ZPath(Arc<str>);

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadPath {
    Empty,
    NotRooted,
    TrailingSlash,
    EmptySegment,
    RelativeSegment,
    BadCharacter,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPath::Empty => "a path is not empty",
            BadPath::NotRooted => "a path begins with /",
            BadPath::TrailingSlash => "a path does not end with /",
            BadPath::EmptySegment => "a path has no empty segment",
            BadPath::RelativeSegment => "a path has no segment . or ..",
            BadPath::BadCharacter => "a path has no control, private-use or supplementary characters",
        })
    }
}

impl std::error::Error for BadPath {}

impl ZPath {
    pub fn parse(text: &str) -> Result<ZPath, BadPath> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(if text.is_empty() { BadPath::Empty } else { BadPath::NotRooted });
        };
        if text.chars().any(is_refused) {
            return Err(BadPath::BadCharacter);
        }
        if rest.is_empty() {
            return Ok(ZPath(Arc::from("/")));
        }
        if rest.ends_with('/') {
            return Err(BadPath::TrailingSlash);
        }
        for segment in rest.split('/') {
            match segment {
                "" => return Err(BadPath::EmptySegment),
                "." | ".." => return Err(BadPath::RelativeSegment),
                _ => {}
            }
        }
        Ok(ZPath(Arc::from(text)))
    }

    /// A path written in our own source.
    ///
    /// Panics when it is not valid: our own mistake.
    pub fn literal(text: &str) -> ZPath {
        match ZPath::parse(text) {
            Ok(path) => path,
            Err(why) => panic!("\"{text}\" is not a path: {why}"),
        }
    }

    pub fn root() -> ZPath {
        ZPath(Arc::from("/"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The parent; `None` for the root.
    pub fn parent(&self) -> Option<ZPath> {
        if self.is_root() {
            return None;
        }
        let slash = self.last_slash();
        Some(ZPath(Arc::from(if slash == 0 { "/" } else { &self.0[..slash] })))
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &str {
        &self.0[self.last_slash() + 1..]
    }

    /// The child called `name`.
    pub fn child(&self, name: &str) -> Result<ZPath, BadPath> {
        if self.is_root() { ZPath::parse(&format!("/{name}")) } else { ZPath::parse(&format!("{}/{name}", self.0)) }
    }

    /// Is this `ancestor`, or below it?
    pub fn starts_with_path(&self, ancestor: &ZPath) -> bool {
        self == ancestor || self.is_below(ancestor)
    }

    /// Is this a descendant of `ancestor`, at any depth?
    pub fn is_below(&self, ancestor: &ZPath) -> bool {
        if ancestor.is_root() {
            return !self.is_root();
        }
        self.0.len() > ancestor.0.len()
            && self.0.starts_with(&*ancestor.0)
            && self.0.as_bytes()[ancestor.0.len()] == b'/'
    }

    /// Is this a child of `parent`?
    pub fn is_child_of(&self, parent: &ZPath) -> bool {
        self.is_below(parent) && self.last_slash() == if parent.is_root() { 0 } else { parent.0.len() }
    }

    /// This path and every ancestor, from here to the root.
    pub fn to_root(&self) -> impl Iterator<Item = ZPath> + use<> {
        core::iter::successors(Some(self.clone()), ZPath::parent)
    }

    fn last_slash(&self) -> usize {
        self.0.rfind('/').unwrap_or(0)
    }
}

fn is_refused(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{10ffff}')
}

impl Ord for ZPath {
    /// `/` sorts before every other character, which puts a subtree right behind its root.
    fn cmp(&self, other: &ZPath) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        match ours.iter().zip(theirs).find(|(a, b)| a != b) {
            None => ours.len().cmp(&theirs.len()),
            Some((b'/', _)) => Ordering::Less,
            Some((_, b'/')) => Ordering::Greater,
            Some((a, b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for ZPath {
    fn partial_cmp(&self, other: &ZPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ZPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ZPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ZPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The ten digits a sequential create appends to its path: the parent's persisted cversion at the time. A signed int,
/// so that an overflow prints a minus, as Java's `%010d` does.
pub fn sequential_suffix(parent_cversion: i32) -> String {
    format!("{parent_cversion:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_path_or_says_why_not() {
        for good in ["/", "/a", "/a/b", "/a.b/..c", "/über/-0000000001"] {
            assert_eq!(ZPath::parse(good).map(|path| path.to_string()), Ok(good.to_string()));
        }
        let bad = [
            ("", BadPath::Empty),
            ("a", BadPath::NotRooted),
            ("/a/", BadPath::TrailingSlash),
            ("//", BadPath::TrailingSlash),
            ("/a//b", BadPath::EmptySegment),
            ("/a/./b", BadPath::RelativeSegment),
            ("/..", BadPath::RelativeSegment),
            ("/a\0", BadPath::BadCharacter),
            ("/a\u{1f}b", BadPath::BadCharacter),
            ("/\u{e000}", BadPath::BadCharacter),
            ("/\u{1f600}", BadPath::BadCharacter),
        ];
        for (text, why) in bad {
            assert_eq!(ZPath::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_subtree_follows_its_root_without_a_gap() {
        let mut paths: Vec<ZPath> =
            ["/b", "/a/b", "/a-b", "/", "/a", "/a/b/c", "/a/b-c", "/aa"].map(ZPath::literal).to_vec();
        paths.sort();
        assert_eq!(format!("{paths:?}"), "[/, /a, /a/b, /a/b/c, /a/b-c, /a-b, /aa, /b]");
    }

    #[test]
    fn kin_is_told_from_mere_prefix() {
        let [root, a, ab, abc] = ["/", "/a", "/a/b", "/a/b/c"].map(ZPath::literal);
        assert_eq!(abc.parent(), Some(ab.clone()));
        assert_eq!((a.parent(), root.parent()), (Some(root.clone()), None));
        assert_eq!((abc.name(), root.name()), ("c", ""));
        assert!(abc.is_below(&a) && a.is_below(&root) && !a.is_below(&a) && a.starts_with_path(&a));
        assert!(!ZPath::literal("/ab").is_below(&a));
        assert!(ab.is_child_of(&a) && a.is_child_of(&root) && !abc.is_child_of(&a));
        assert_eq!(root.child("a"), Ok(a.clone()));
        assert_eq!(a.child("b/"), Err(BadPath::TrailingSlash));
        assert_eq!(abc.to_root().collect::<Vec<_>>(), [abc, ab, a, root]);
    }

    #[test]
    fn sequence_numbers_have_ten_digits_and_a_sign_when_they_overflow() {
        assert_eq!(sequential_suffix(7), "0000000007");
        assert_eq!(sequential_suffix(i32::MAX), "2147483647");
        assert_eq!(sequential_suffix(-3), "-000000003");
    }
}
