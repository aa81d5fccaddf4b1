//! Segments over real transports: what origins do to a node's memory by themselves.

use bitcode_client::ClientError;
use bitcode_transport::Update;

use crate::support::{Node, Origin, until};

const TRANSPORTS: [&str; 2] = ["shm", "tcp"];

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn bytes_go_there_and_come_back() {
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        // More than is moved at once.
        let all = bytes((9 << 20) + 5);
        let segment = origin.session.allocate(all.len() as u64).unwrap();
        segment.write(0, &all).unwrap();
        let mut back = vec![0; all.len()];
        segment.read(0, &mut back).unwrap();
        assert!(back == all, "{transport}");
        segment.write(3, b"some").unwrap();
        let mut some = [0; 6];
        segment.read(2, &mut some).unwrap();
        assert_eq!(&some, &[all[2], b's', b'o', b'm', b'e', all[7]]);
        let beyond = segment.write(all.len() as u64 - 3, b"some");
        assert!(matches!(beyond, Err(ClientError::BadArgument(_))));
        segment.close().unwrap();
        let stale = segment.read(0, &mut some);
        assert!(matches!(stale, Err(ClientError::SegmentGone(_))));
    }
}

#[test]
fn four_origins_update_a_word_and_none_is_lost() {
    const UPDATES: u64 = 500;
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let owner = Origin::connect(transport, &node);
        let segment = owner.session.allocate(64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let other = Origin::connect(transport, &node);
                    let attached = other.session.attach(segment.number()).unwrap();
                    for _ in 0..UPDATES {
                        attached.update(8, Update::Add(3)).unwrap();
                    }
                });
            }
        });
        let mut word = [0; 8];
        segment.read(8, &mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), 4 * 3 * UPDATES, "{transport}");
    }
}

#[test]
fn whoever_attached_hears_that_the_owner_has_gone() {
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let owner = Origin::connect(transport, &node);
        let other = Origin::connect(transport, &node);
        let number = owner.session.allocate(64).unwrap().number();
        let attached = other.session.attach(number).unwrap();
        attached.write(0, b"here").unwrap();
        owner.session.close();
        until("the end of the segment", || !attached.is_open());
        let stale = attached.write(0, b"late");
        assert!(matches!(stale, Err(ClientError::SegmentGone(_))));
        let gone = other.session.attach(number).unwrap_err();
        assert!(matches!(gone, ClientError::SegmentGone(_)), "{gone}");
        // The node lives, and its memory is free again.
        let all = other.session.allocate(1 << 30).map(drop);
        assert!(all.is_ok(), "{all:?}");
    }
}

#[test]
fn transfers_end_with_the_node() {
    for transport in TRANSPORTS {
        let mut node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let segment = origin.session.allocate(1 << 20).unwrap();
        let mut back = vec![0; 1 << 20];
        segment.read(0, &mut back).unwrap();
        node.child.kill().unwrap();
        until("the end of the session", || !origin.session.is_open());
        let gone = segment.read(0, &mut back).unwrap_err();
        assert!(matches!(gone, ClientError::PeerDied(_)), "{gone}");
        assert!(!segment.is_open());
        segment.close().unwrap();
    }
}

#[test]
fn a_node_may_have_no_memory_for_segments() {
    let node = Node::start(&["--transport", "shm", "--segment-bytes", "0"]);
    let origin = Origin::connect("shm", &node);
    let refused = origin.session.allocate(1).unwrap_err().to_string();
    assert!(refused.contains("--segment-bytes"), "{refused}");
}
