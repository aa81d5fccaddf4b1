//! Who does not belong here: wrong keys, other versions, garbage on both planes. The node tells them what it may, and
//! serves on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use bitcode_client::ClientError;
use bitcode_transport::{Body, Fabric, HeaderBytes, PeerFailure, PeerId, Segment, Settings};
use bitcode_transport::{Sink, Token, TransportError, UcxFabric};
use bitcode_wire::frame::{HEADER_LEN, Header, Kind, SessionKeys};
use bitcode_wire::handshake::{PREAMBLE_LEN, Preamble};

use crate::archives::ADD_ONE;
use crate::support::{LONG, Node, Origin, client};

const KEY: &[u8] = b"a key of more than sixteen bytes";

/// A node with a key.
fn keyed() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, [KEY, b"\n"].concat()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let node = Node::start(&["--transport", "tcp", "--key-file", path.to_str().unwrap()]);
    (directory, node)
}

fn serves(node: &Node, key: Option<&[u8]>) {
    let client = client("tcp");
    let session = client.connect(node.address(), key, LONG).unwrap();
    let origin = Origin { client, session };
    assert_eq!(origin.word(&origin.code("add one", ADD_ONE), 1), 2);
}

#[test]
fn only_the_right_key_opens() {
    let (_directory, node) = keyed();
    let client = client("tcp");
    let wrong = client
        .connect(node.address(), Some(b"another key of enough bytes"), LONG)
        .unwrap_err();
    assert!(matches!(wrong, ClientError::AuthFailed(_)), "{wrong}");
    node.until_logged("the keys of the two sides differ");
    let none = client.connect(node.address(), None, LONG).unwrap_err();
    assert!(matches!(none, ClientError::KeyRequired(_)), "{none}");
    serves(&node, Some(KEY));
    let secret = std::str::from_utf8(KEY).unwrap();
    assert!(!node.log().contains(secret));
}

#[test]
fn a_key_for_a_node_without_one_is_refused_with_the_remedy() {
    let node = Node::start(&["--transport", "tcp"]);
    let client = client("tcp");
    let refused = client.connect(node.address(), Some(KEY), LONG).unwrap_err();
    assert!(matches!(refused, ClientError::KeyRequired(_)), "{refused}");
    assert!(refused.to_string().contains("--key-file"), "{refused}");
    serves(&node, None);
}

#[test]
fn nobody_there_is_told_apart() {
    let node = Node::start(&["--transport", "tcp"]);
    let address = node.address().to_owned();
    drop(node);
    let client = client("tcp");
    let refused = client.connect(&address, None, LONG).unwrap_err();
    assert!(
        matches!(refused, ClientError::ConnectRefused(_)),
        "{refused}"
    );
    for nonsense in ["", "nowhere", "127.0.0.1", "127.0.0.1:99999"] {
        let refused = client.connect(nonsense, None, LONG).unwrap_err();
        assert!(
            matches!(refused, ClientError::ConnectRefused(_)),
            "{refused}"
        );
    }
}

#[test]
fn another_version_is_told_so() {
    let node = Node::start(&["--transport", "tcp"]);
    let mut stream = TcpStream::connect(node.address()).unwrap();
    let ours = Preamble {
        min_version: 77,
        max_version: 78,
        ..Preamble::ours(false)
    };
    stream.write_all(&ours.encode()).unwrap();
    let mut theirs = [0; PREAMBLE_LEN];
    stream.read_exact(&mut theirs).unwrap();
    assert!(Preamble::decode(&theirs).unwrap().max_version < 77);
    assert_eq!(
        stream.read(&mut [0; 16]).unwrap_or(0),
        0,
        "and that was all"
    );
    node.until_logged("77 to 78");
    serves(&node, None);
}

#[test]
fn garbage_and_silence_on_the_control_plane_do_no_harm() {
    let node = Node::start(&["--transport", "tcp"]);
    let preamble = Preamble::ours(false).encode();
    let beginnings: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &preamble[..4],
        &preamble,
        &[0xFF; 100_000],
        // A preamble, then a message that is announced and does not come.
        &[&preamble[..], &[0xFF, 0xFF, 1, 2, 3]].concat(),
    ];
    // Some leave at once, some stay and say no more.
    let mut staying = Vec::new();
    for bytes in beginnings {
        for stay in [false, true] {
            let mut stream = TcpStream::connect(node.address()).unwrap();
            // The node may have had enough before it has read all.
            let _ = stream.write_all(bytes);
            if stay {
                staying.push(stream);
            }
        }
    }
    serves(&node, None);
    // More than the node bears at once, all of them silent, and they stay: they keep nobody out.
    for _ in 0..100 {
        staying.push(TcpStream::connect(node.address()).unwrap());
    }
    serves(&node, None);
    node.until_logged("too many handshakes");
    drop(staying);
    serves(&node, None);
}

struct Nothing;

impl Sink for Nothing {
    fn frame(&mut self, _: &HeaderBytes, _: &mut Body) {}
    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}
    fn peer_failed(&mut self, _: PeerId, _: PeerFailure) {}
}

#[test]
fn garbage_on_the_data_plane_does_no_harm() {
    for transport in ["shm", "tcp"] {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let welcome = origin.session.welcome();
        let settings = Settings::with_transport(transport.parse().unwrap());
        let stranger = UcxFabric::new(&settings).unwrap();
        let (peer, _) = stranger.open_peer().unwrap();
        stranger
            .connect_peer(peer, &welcome.worker_address)
            .unwrap();
        let forged = SessionKeys::derive(b"made up");
        let call = Header {
            session: welcome.session,
            epoch: welcome.epoch,
            call: 1,
            ..Header::new(Kind::Call)
        };
        let mut seed = 1u64;
        for round in 0..200 {
            let mut header: [u8; HEADER_LEN] = call.encode(&forged.to_node, round);
            if round % 2 == 0 {
                for byte in &mut header {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *byte = (seed >> 56) as u8;
                }
            }
            let body = vec![round as u8; if round % 20 == 0 { 1 << 20 } else { round }];
            let body = std::sync::Arc::new(body);
            let _ = stranger
                .send(peer, &header, &[Segment::shared(body)], Token(0))
                .unwrap();
            stranger.poll(&mut Nothing);
        }
        let add = origin.code("add one", ADD_ONE);
        let start = std::time::Instant::now();
        while !node.log().contains("frame dropped") {
            assert!(start.elapsed() < LONG);
            stranger.poll(&mut Nothing);
            assert_eq!(origin.word(&add, 1), 2);
        }
        // And then it vanishes, with large bodies half sent.
        drop(stranger);
        for word in 0..100 {
            assert_eq!(origin.word(&add, word), word + 1);
        }
    }
}
