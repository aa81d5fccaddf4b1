//! The control channel over real TCP: who gets in, what everybody else is told, and how a session ends.

#![allow(
    clippy::unwrap_used,
    reason = "a panic here is a failed test with its place"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bitcode_transport::control::{self, Arrived, Channel, Connected, ControlError, EndReason};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::handshake::{Hello, Mismatch, Preamble, PreambleFlags, Welcome};

/// Long enough that no healthy run ever meets it.
const PATIENCE: Duration = Duration::from_secs(30);
/// For tests whose peer never answers.
const IMPATIENCE: Duration = Duration::from_millis(200);
const KEY: &[u8] = b"sixteen bytes or more";

fn hello() -> Hello {
    Hello {
        version: "0.1.0".into(),
        pid: 7,
        worker_address: vec![1, 2, 3],
        ..Hello::default()
    }
}

fn welcome() -> Welcome {
    Welcome {
        session: 42,
        hostname: "here".into(),
        ..Welcome::default()
    }
}

/// Runs `node` on the first connection and `origin` on the address; both results.
fn pair<N: Send + 'static, O>(
    node: impl FnOnce(TcpStream) -> N + Send + 'static,
    origin: impl FnOnce(&str) -> O,
) -> (N, O) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let side = thread::spawn(move || node(listener.accept().unwrap().0));
    let origin = origin(&address);
    (side.join().unwrap(), origin)
}

fn handshake(
    node_key: Option<&'static [u8]>,
    origin_key: Option<&'static [u8]>,
) -> (
    Result<Arrived, ControlError>,
    Result<Connected, ControlError>,
) {
    // The origin waits for a welcome that `accept` alone does not give, so it runs beside.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let origin = thread::spawn(move || control::connect(&address, origin_key, &hello(), PATIENCE));
    let node = control::accept(listener.accept().unwrap().0, node_key, PATIENCE);
    match node {
        Ok(arrived) => {
            let refused = arrived.refuse(ErrorCode::SHUTTING_DOWN, "not today");
            (
                Err(refused.err().unwrap_or(ControlError::WrongKey)),
                origin.join().unwrap(),
            )
        }
        Err(error) => (Err(error), origin.join().unwrap()),
    }
}

fn session(
    key: Option<&'static [u8]>,
) -> (Channel, Connected, Hello, bitcode_wire::frame::SessionKeys) {
    let (node, origin) = pair(
        move |stream| {
            let arrived = control::accept(stream, key, PATIENCE).unwrap();
            let (hello, keys) = (arrived.hello.clone(), arrived.keys.clone());
            (arrived.welcome(welcome()).unwrap(), hello, keys)
        },
        |address| control::connect(address, key, &hello(), PATIENCE).unwrap(),
    );
    (node.0, origin, node.1, node.2)
}

#[test]
fn both_sides_learn_of_each_other_and_share_keys() {
    for key in [Some(KEY), None] {
        let (_node, origin, heard, keys) = session(key);
        assert_eq!(heard, hello());
        assert_eq!(origin.welcome, welcome());
        assert!(origin.keys == keys);
        assert!(keys.to_node != keys.to_origin);
    }
}

#[test]
fn every_session_has_its_own_keys() {
    let (first, second) = (session(Some(KEY)), session(Some(KEY)));
    assert!(first.3.to_node != second.3.to_node);
}

#[test]
fn another_key_is_refused_and_both_sides_know_why() {
    let (node, origin) = handshake(Some(KEY), Some(b"another key, as long"));
    assert_eq!(node.unwrap_err(), ControlError::WrongKey);
    assert_eq!(origin.unwrap_err(), ControlError::WrongKey);
}

#[test]
fn a_missing_key_is_told_from_a_wrong_one() {
    let (node, origin) = handshake(Some(KEY), None);
    assert_eq!(node.unwrap_err(), ControlError::KeyUnexpected);
    assert_eq!(origin.unwrap_err(), ControlError::KeyRequired);
    let (node, origin) = handshake(None, Some(KEY));
    assert_eq!(node.unwrap_err(), ControlError::KeyRequired);
    assert_eq!(origin.unwrap_err(), ControlError::KeyUnexpected);
}

#[test]
fn a_refusal_carries_its_reason() {
    let (_, origin) = handshake(Some(KEY), Some(KEY));
    match origin.unwrap_err() {
        ControlError::Refused(refusal) => {
            assert_eq!(refusal.code, ErrorCode::SHUTTING_DOWN);
            assert_eq!(refusal.message, "not today");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_version_is_refused_with_both_versions() {
    let future = Preamble {
        min_version: 900,
        max_version: 901,
        flags: PreambleFlags::HAS_KEY,
    };
    let (node, _) = pair(
        |stream| control::accept(stream, Some(KEY), PATIENCE).unwrap_err(),
        |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&future.encode()).unwrap();
            // Held open until the node has hung up.
            stream.read_to_end(&mut Vec::new()).unwrap()
        },
    );
    match node {
        ControlError::Version(Mismatch::Version { their_min, .. }) => assert_eq!(their_min, 900),
        other => panic!("{other:?}"),
    }
    let (_, origin) = pair(
        move |mut stream| {
            stream.write_all(&future.encode()).unwrap();
            stream.read_to_end(&mut Vec::new())
        },
        |address| control::connect(address, Some(KEY), &hello(), PATIENCE).unwrap_err(),
    );
    assert!(
        origin.to_string().contains("900") && origin.to_string().contains("update"),
        "{origin}"
    );
}

#[test]
fn garbage_is_not_a_handshake() {
    let (node, _) = pair(
        |stream| control::accept(stream, Some(KEY), PATIENCE).unwrap_err(),
        |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            // The node may have reset the connection: it left our bytes unread.
            drop(stream.read_to_end(&mut Vec::new()));
        },
    );
    assert!(matches!(node, ControlError::NotBitCode(_)), "{node:?}");
}

#[test]
fn garbage_behind_a_good_preamble_is_a_wrong_key() {
    for length in [0usize, 1, 48] {
        let (node, _) = pair(
            |stream| control::accept(stream, Some(KEY), PATIENCE).unwrap_err(),
            |address| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&Preamble::ours(true).encode()).unwrap();
                let length = u16::try_from(length).unwrap();
                stream.write_all(&length.to_le_bytes()).unwrap();
                stream.write_all(&vec![9; length.into()]).unwrap();
                drop(stream.read_to_end(&mut Vec::new()));
            },
        );
        assert_eq!(node, ControlError::WrongKey, "length {length}");
    }
}

#[test]
fn an_overlong_handshake_message_is_refused() {
    let (node, _) = pair(
        |stream| control::accept(stream, Some(KEY), PATIENCE).unwrap_err(),
        |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&Preamble::ours(true).encode()).unwrap();
            stream.write_all(&4096u16.to_le_bytes()).unwrap();
            stream.write_all(&[9; 4096]).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        },
    );
    assert!(
        matches!(node, ControlError::TooLong { len: 4096, .. }),
        "{node:?}"
    );
}

#[test]
fn a_client_that_vanishes_is_noticed_at_every_step() {
    let preamble = Preamble::ours(true).encode();
    for said in [&preamble[..0], &preamble[..5], &preamble[..]] {
        let said = said.to_vec();
        let (node, ()) = pair(
            |stream| control::accept(stream, Some(KEY), PATIENCE).unwrap_err(),
            |address| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&said).unwrap();
            },
        );
        assert!(matches!(node, ControlError::Closed { .. }), "{node:?}");
    }
}

#[test]
fn silence_ends_at_the_deadline() {
    let (node, _stream) = pair(
        |stream| control::accept(stream, Some(KEY), IMPATIENCE).unwrap_err(),
        |address| TcpStream::connect(address).unwrap(),
    );
    assert!(matches!(node, ControlError::Timeout { .. }), "{node:?}");
    let (_, origin) = pair(
        |mut stream| stream.read_to_end(&mut Vec::new()),
        |address| control::connect(address, Some(KEY), &hello(), IMPATIENCE).unwrap_err(),
    );
    assert!(matches!(origin, ControlError::Timeout { .. }), "{origin:?}");
}

#[test]
fn nobody_there_is_said_with_the_address() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = control::connect(&address, None, &hello(), PATIENCE).unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert!(matches!(error, ControlError::Unreachable { .. }));
}

#[test]
fn a_channel_ends_with_its_reason_on_both_sides() {
    let (mut node, mut origin, ..) = session(Some(KEY));
    let closer = origin.channel.closer();
    let waiting = thread::spawn(move || origin.channel.wait_for_end());
    closer.close();
    closer.close();
    assert_eq!(node.wait_for_end(), EndReason::PeerClosed);
    assert_eq!(waiting.join().unwrap(), EndReason::ClosedHere);
}

#[test]
fn dropping_a_channel_closes_it() {
    let (node, mut origin, ..) = session(Some(KEY));
    drop(node);
    assert_eq!(origin.channel.wait_for_end(), EndReason::PeerClosed);
}

/// A relay between the two, so that the test can end or spoil the stream in the middle.
fn relayed() -> (Channel, Connected, TcpStream, TcpStream) {
    let inner = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = inner.local_addr().unwrap();
    let address = outer.local_addr().unwrap().to_string();
    let node = thread::spawn(move || {
        let arrived = control::accept(inner.accept().unwrap().0, Some(KEY), PATIENCE).unwrap();
        arrived.welcome(welcome()).unwrap()
    });
    let relay = thread::spawn(move || {
        let (towards_origin, towards_node) = (
            outer.accept().unwrap().0,
            TcpStream::connect(target).unwrap(),
        );
        for (from, to) in [
            (&towards_origin, &towards_node),
            (&towards_node, &towards_origin),
        ] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
        (towards_origin, towards_node)
    });
    let connected = control::connect(&address, Some(KEY), &hello(), PATIENCE).unwrap();
    let (towards_origin, towards_node) = relay.join().unwrap();
    (
        node.join().unwrap(),
        connected,
        towards_origin,
        towards_node,
    )
}

#[test]
fn a_stream_that_ends_without_farewell_is_a_death() {
    let (mut node, mut origin, towards_origin, towards_node) = relayed();
    for stream in [&towards_origin, &towards_node] {
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
    assert_eq!(node.wait_for_end(), EndReason::PeerDied);
    assert_eq!(origin.channel.wait_for_end(), EndReason::PeerDied);
}

#[test]
fn bytes_put_into_the_stream_end_it() {
    let (mut node, _origin, _towards_origin, mut towards_node) = relayed();
    towards_node.write_all(&[17, 0]).unwrap();
    towards_node.write_all(&[1; 17]).unwrap();
    assert_eq!(node.wait_for_end(), EndReason::Damaged);
}
