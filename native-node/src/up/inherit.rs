//! Sockets that a parent binds and its child uses: they go over a socket pair that is the child's standard input. No
//! other process can take a port in between, and peers that dial before the child is ready wait instead of being refused.
//! While the pair is open the parent lives; its end is the child's end. The child's last words go back over it.

use crate::config::NodeConfig;
use crate::node::Sockets;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Sockets of one process: three for each of two roles.
const MOST: usize = 6;
/// Of a child's last words, in bytes.
const LONGEST: u64 = 4096;

/// Hands sockets over, in the order clients, mesh, HTTP.
///
/// # Errors
/// Of the system.
pub fn hand_over(to: &UnixStream, sockets: &Sockets) -> std::io::Result<()> {
    let listeners = [Some(&sockets.clients), Some(&sockets.mesh), sockets.http.as_ref()];
    let fds: Vec<BorrowedFd<'_>> = listeners.into_iter().flatten().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    assert!(message.push(SendAncillaryMessage::ScmRights(&fds)), "{} sockets into room for {MOST}", fds.len());
    sendmsg(to, &[IoSlice::new(b"!")], &mut message, SendFlags::empty())?;
    Ok(())
}

/// Takes over what a parent hands to these nodes, and the connection to the parent.
///
/// # Errors
/// One sentence: standard input is not such a parent's.
pub fn take_over(nodes: &[NodeConfig]) -> Result<(Vec<Sockets>, UnixStream), String> {
    let failed = |error: std::io::Error| format!("the parent's sockets cannot be taken over: {error}");
    let parent = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let mut listeners = receive(&parent).map_err(failed)?.into_iter().map(TcpListener::from);
    let mut all = Vec::new();
    for node in nodes {
        let mut next = || listeners.next().ok_or_else(|| "the parent handed over too few sockets".to_owned());
        let (clients, mesh) = (next()?, next()?);
        all.push(Sockets { clients, mesh, http: node.http.map(|_| next()).transpose()? });
    }
    Ok((all, parent))
}

fn receive(parent: &UnixStream) -> std::io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(parent, &mut [IoSliceMut::new(&mut byte)], &mut messages, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    for message in messages.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.extend(fds);
        }
    }
    Ok(received)
}

/// Tells the parent why its child ends. False if nobody hears it.
pub fn say_why(mut parent: &UnixStream, why: &str) -> bool {
    parent.write_all(why.as_bytes()).is_ok()
}

/// Why a child that is gone has ended, if it said so.
pub fn hear_why(child: UnixStream) -> Option<String> {
    child.set_nonblocking(true).ok()?;
    let mut said = Vec::new();
    // It may be reset before its end is read: what was said counts.
    let _ = child.take(LONGEST).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    (!said.is_empty()).then_some(said)
}

/// Blocks until the parent is gone.
pub fn wait_for_the_end_of(mut parent: UnixStream) {
    let mut nothing = [0];
    while matches!(parent.read(&mut nothing), Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_go_from_one_end_to_the_other() {
        let (parent, child) = UnixStream::pair().unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = Sockets { clients: bind(), mesh: bind(), http: Some(bind()) };
        let at = sockets.mesh.local_addr().unwrap();
        hand_over(&parent, &sockets).unwrap();
        drop(sockets);
        let received: Vec<TcpListener> = receive(&child).unwrap().into_iter().map(TcpListener::from).collect();
        assert_eq!(received.len(), 3);
        assert_eq!(received[1].local_addr().unwrap(), at);
        std::net::TcpStream::connect(at).unwrap();
        drop(parent);
        wait_for_the_end_of(child);
    }
}
