//! ZooKeeper's error codes (protocol.md B.3; KeeperException.Code).

use core::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $shown:literal;)+) => {
        /// How an operation ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[$doc])* $name = $code),+ }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),+];

            /// The code on the wire; `None` for a number ZooKeeper does not know either.
            pub const fn from_code(code: i32) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$name),)+
                    _ => None,
                }
            }

            /// ZooKeeper's own name, as its tools print it.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => $shown),+ }
            }
        }
    };
}

codes! {
    Ok = 0, "OK";
    SystemError = -1, "SYSTEMERROR";
    /// Of an operation of a failed multi: it was not tried.
    RuntimeInconsistency = -2, "RUNTIMEINCONSISTENCY";
    DataInconsistency = -3, "DATAINCONSISTENCY";
    /// The client's own: the outcome is unknown.
    ConnectionLoss = -4, "CONNECTIONLOSS";
    MarshallingError = -5, "MARSHALLINGERROR";
    Unimplemented = -6, "UNIMPLEMENTED";
    OperationTimeout = -7, "OPERATIONTIMEOUT";
    BadArguments = -8, "BADARGUMENTS";
    UnknownSession = -12, "UNKNOWNSESSION";
    NewConfigNoQuorum = -13, "NEWCONFIGNOQUORUM";
    ReconfigInProgress = -14, "RECONFIGINPROGRESS";
    ApiError = -100, "APIERROR";
    NoNode = -101, "NONODE";
    NoAuth = -102, "NOAUTH";
    BadVersion = -103, "BADVERSION";
    NoChildrenForEphemerals = -108, "NOCHILDRENFOREPHEMERALS";
    NodeExists = -110, "NODEEXISTS";
    NotEmpty = -111, "NOTEMPTY";
    SessionExpired = -112, "SESSIONEXPIRED";
    InvalidCallback = -113, "INVALIDCALLBACK";
    InvalidAcl = -114, "INVALIDACL";
    AuthFailed = -115, "AUTHFAILED";
    /// The session speaks through another server now.
    SessionMoved = -118, "SESSIONMOVED";
    NotReadOnly = -119, "NOTREADONLY";
    EphemeralOnLocalSession = -120, "EPHEMERALONLOCALSESSION";
    NoWatcher = -121, "NOWATCHER";
    RequestTimeout = -122, "REQUESTTIMEOUT";
    ReconfigDisabled = -123, "RECONFIGDISABLED";
    SessionClosedRequireSaslAuth = -124, "SESSIONCLOSEDREQUIRESASLAUTH";
    QuotaExceeded = -125, "QUOTAEXCEEDED";
    ThrottledOp = -127, "THROTTLEDOP";
}

impl ErrorCode {
    pub const fn code(self) -> i32 {
        self as i32
    }

    pub const fn is_ok(self) -> bool {
        matches!(self, ErrorCode::Ok)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_back() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        }
        assert_eq!((ErrorCode::NoNode.code(), ErrorCode::NoNode.to_string()), (-101, "NONODE".to_owned()));
        assert_eq!(ErrorCode::from_code(-99), None);
    }
}
