//! Clients of a running cluster over TCP, for the command line, the bench and the soak test: Kafka's protocol in
//! [`kafka`], ZooKeeper's in [`keeper`]. They know nothing of the nodes but what the protocols say, so they work with
//! any other Kafka and ZooKeeper too.
//!
//! Everything here wants a tokio runtime with time and network. Whatever waits has a time limit.

pub mod kafka;
pub mod keeper;

mod frames;

use glasshouse_core::node::Address;
use std::fmt;
use std::time::Duration;

/// Why something that was asked of a cluster did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No connection came about; nothing was asked.
    Unreachable { address: String, why: String },
    /// The connection went while the answer was awaited: whether it was done is unknown.
    Lost { address: String, why: String },
    /// The time is up; `last` is what went wrong before.
    TimedOut { what: String, after: Duration, last: Option<Box<Error>> },
    /// A broker's answer.
    Refused { what: String, code: glasshouse_core::api::kafka::ErrorCode, message: Option<String> },
    /// A keeper's answer.
    Keeper { what: String, code: glasshouse_core::keeper::client::op::KeeperError },
    /// The other end does not speak what we need.
    Unsupported { address: String, what: String },
    /// The other end sent something that is not its protocol.
    Malformed { address: String, why: String },
}

impl Error {
    /// Nobody is there, as opposed to somebody who refuses.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::TimedOut { last, .. } => last.as_deref().is_some_and(Error::is_unreachable),
            _ => false,
        }
    }

    /// It may have been done all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Error::Lost { .. } | Error::Malformed { .. } | Error::TimedOut { .. } => true,
            Error::Keeper { code, .. } => {
                use glasshouse_core::keeper::client::op::KeeperError;
                matches!(*code, KeeperError::CONNECTIONLOSS | KeeperError::SESSIONEXPIRED)
            }
            Error::Unreachable { .. } | Error::Refused { .. } | Error::Unsupported { .. } => false,
        }
    }

    /// The code of a broker's answer, if it is one.
    pub fn code(&self) -> Option<glasshouse_core::api::kafka::ErrorCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            Error::TimedOut { last, .. } => last.as_deref().and_then(Error::code),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { address, why } => write!(f, "{address} cannot be reached: {why}"),
            Error::Lost { address, why } => write!(f, "the connection to {address} went away: {why}"),
            Error::TimedOut { what, after, last } => {
                write!(f, "{what}: not within {after:?}")?;
                last.as_ref().map_or(Ok(()), |last| write!(f, "; last: {last}"))
            }
            Error::Refused { what, code, message } => {
                write!(f, "{what}: {code}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
            }
            Error::Keeper { what, code } => write!(f, "{what}: {code}"),
            Error::Unsupported { address, what } => write!(f, "{address} does not speak {what}"),
            Error::Malformed { address, why } => write!(f, "{address} sent something else than its protocol: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Reads `host:port,host:port`; a port that is not there is `port`. An IPv6 address stands in brackets.
///
/// # Errors
/// What is wrong with which part.
pub fn parse_addresses(text: &str, port: u16) -> Result<Vec<Address>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses = parts.map(|part| parse_address(part, port)).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() { Err(format!("no address in {text:?}")) } else { Ok(addresses) }
}

fn parse_address(part: &str, port: u16) -> Result<Address, String> {
    let part = part.split_once("://").map_or(part, |(_, rest)| rest).trim_end_matches('/');
    let (host, digits) = match part.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(|| bad_address(part))?)),
        None => part.split_once(':').map_or((part, None), |(host, digits)| (host, Some(digits))),
    };
    let port = match digits {
        None => port,
        Some(digits) => digits.parse().map_err(|_| bad_address(part))?,
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(bad_address(part));
    }
    Ok(Address { host: host.into(), port })
}

fn bad_address(part: &str) -> String {
    format!("{part:?} is no address: host:port is, such as 127.0.0.1:9092")
}

/// Several addresses as one text.
pub fn join(addresses: &[Address]) -> String {
    addresses.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// An address as it is written: `host:port`, or `[::1]:port`.
pub fn shown(at: &Address) -> String {
    if at.host.contains(':') { format!("[{}]:{}", at.host, at.port) } else { at.to_string() }
}

/// Connects, with Nagle's delay off.
async fn dial(to: &Address, limit: Duration) -> Result<tokio::net::TcpStream, Error> {
    let unreachable = |why: String| Error::Unreachable { address: shown(to), why };
    match tokio::time::timeout(limit, tokio::net::TcpStream::connect((&*to.host, to.port))).await {
        Ok(Ok(stream)) => {
            let _best_effort = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(unreachable("nothing listens there".into()))
        }
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no answer within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text| parse_addresses(text, 9092).map(|all| join(&all));
        assert_eq!(read("one"), Ok("one:9092".into()));
        assert_eq!(read("127.0.0.1:1, two:2,"), Ok("127.0.0.1:1, two:2".into()));
        assert_eq!(read("PLAINTEXT://host:7"), Ok("host:7".into()));
        assert_eq!(parse_addresses("[::1]:5", 1).unwrap()[0], Address { host: "::1".into(), port: 5 });
        assert_eq!(parse_addresses("[::1]", 1).unwrap()[0], Address { host: "::1".into(), port: 1 });
        for bad in ["", ",", "host:", "host:99999", ":9", "a b:1", "[::1]5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
