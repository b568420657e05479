//! A client's requests as frames: a header {xid, type} and the operation's body.

use super::connect;
use crate::api::keeper::Request;
use crate::api::keeper::body::{decode_body, encode_body};
use crate::codec::{Reader, Result, Writer};
use bytes::Bytes;

/// The words an administrator may send instead of a first frame (protocol.md B.8).
const WORDS: [&[u8; 4]; 18] = [
    b"conf", b"cons", b"crst", b"dirs", b"dump", b"envi", b"gtmk", b"stmk", b"hash", b"isro", b"mntr", b"ruok",
    b"srvr", b"srst", b"stat", b"wchc", b"wchp", b"wchs",
];

/// Are the first four bytes of a connection such a word? Read as a length they would be more than any frame may have.
pub fn four_letter_word(first: [u8; 4]) -> Option<[u8; 4]> {
    WORDS.contains(&&first).then_some(first)
}

/// Writes a request. One that could not be decoded is written as what is known of it, its header.
pub fn encode_request(request: &Request) -> Bytes {
    let mut w = Writer::with_capacity(64);
    match request {
        Request::Connect(connect) => connect::encode_request(connect, &mut w),
        Request::FourLetter(word) => w.put(word),
        Request::Undecodable { xid, op } => encode_header(*xid, *op, &mut w),
        Request::Op { xid, op } => {
            encode_header(*xid, op.code(), &mut w);
            encode_body(op, &mut w);
        }
    }
    w.finish()
}

fn encode_header(xid: i32, op: i32, w: &mut Writer) {
    w.i32(xid);
    w.i32(op);
}

/// Reads a frame behind the first. Only a header that cannot be read is an error.
pub(super) fn decode_op(frame: Bytes) -> Result<Request> {
    let mut r = Reader::new(frame);
    let (xid, code) = (r.i32()?, r.i32()?);
    Ok(match decode_body(code, &mut r) {
        Ok(op) => Request::Op { xid, op },
        Err(_) => Request::Undecodable { xid, op: code },
    })
}
