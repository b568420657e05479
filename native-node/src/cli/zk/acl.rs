//! Access lists as zkCli has them: `world:anyone:cdrwa,digest:bob:…:r`.

use glasshouse_core::znode::acl::{Acl, AclList, perms};

const RIGHTS: [(char, i32); 5] =
    [('c', perms::CREATE), ('d', perms::DELETE), ('r', perms::READ), ('w', perms::WRITE), ('a', perms::ADMIN)];

pub fn shown(line: &Acl) -> String {
    let rights: String = RIGHTS.iter().filter(|(_, bit)| line.perms & bit != 0).map(|(letter, _)| letter).collect();
    format!("{}:{rights}", line.id)
}

/// An id may hold colons, never a comma.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn parse(text: &str) -> Result<AclList, String> {
    let line = |text: &str| {
        let parts = text.split_once(':').and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)));
        let (scheme, (id, rights)) = parts.filter(|(scheme, _)| !scheme.is_empty()).ok_or_else(|| {
            format!("an access list has lines of SCHEME:ID:RIGHTS, separated by commas, and {text:?} is none")
        })?;
        let bit = |letter| RIGHTS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| *bit);
        let perms = rights.chars().try_fold(0, |perms, letter| Some(perms | bit(letter)?));
        let perms = perms.ok_or_else(|| format!("rights are letters of cdrwa, and {rights:?} is not"))?;
        Ok(Acl::new(perms, scheme, id))
    };
    Ok(AclList::new(text.split(',').map(line).collect::<Result<Vec<Acl>, String>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_shown() {
        let text = "world:anyone:cdrwa,digest:bob:aGFzaA==:r,ip:10.0.0.0/8:rw,auth::ca";
        let list = parse(text).unwrap();
        assert_eq!(list.lines()[1], Acl::new(perms::READ, "digest", "bob:aGFzaA=="));
        assert_eq!(list.lines().iter().map(shown).collect::<Vec<_>>().join(","), text);
        assert!(parse("world:anyone").unwrap_err().contains("SCHEME:ID:RIGHTS"));
        assert!(parse("world:anyone:x").unwrap_err().contains("cdrwa"));
        assert!(parse("").is_err());
    }
}
