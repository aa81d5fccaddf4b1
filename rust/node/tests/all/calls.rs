//! Calls that go well, over shared memory and over TCP.

use std::time::{Duration, Instant};

use bitcode_client::{CallOptions, CallState};

use crate::archives::{ADD_ONE, BYTES, COUNT, ECHO};
use crate::support::{LONG, Node, Origin, owned, value};

const TRANSPORTS: [&str; 2] = ["shm", "tcp"];

#[test]
fn a_word_goes_there_and_comes_back() {
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let welcome = origin.session.welcome();
        assert_eq!(welcome.pid, node.child.id());
        assert!(welcome.llvm.starts_with("19"), "{welcome:?}");
        assert!(!welcome.cpu.is_empty() && !welcome.abis.is_empty());
        let code = origin.code("add one", ADD_ONE);
        for word in 0..1000 {
            assert_eq!(origin.word(&code, word), word + 1);
        }
        let stats = origin.stats();
        assert_eq!((stats.calls, stats.values, stats.pending), (1000, 1000, 0));
        assert_eq!((stats.archives_sent, stats.need_code), (1, 0));
        let used = origin.session.transport();
        let expected = if transport == "shm" { "posix" } else { "tcp" };
        assert!(used.contains(expected), "{used}");
    }
}

#[test]
fn the_first_call_tells_where_the_time_went() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let call = origin.begin(&origin.code("add one", ADD_ONE), 1);
    value(&call);
    let timings = call.timings().unwrap();
    let stages = timings.node.unwrap();
    assert!(stages.optimise > 0 && stages.emit > 0, "{stages:?}");
    let sum = stages.parse + stages.link + stages.optimise + stages.emit;
    assert!(
        timings.total.unwrap() > Duration::from_micros(sum.into()),
        "{timings:?}"
    );
}

#[test]
fn sixty_four_calls_at_once_from_four_threads() {
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let code = origin.code("add one", ADD_ONE);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (origin, code) = (&origin, &code);
                scope.spawn(move || {
                    for round in 0..20 {
                        let first = thread * 10_000 + round * 100;
                        let calls: Vec<_> = (first..first + 64)
                            .map(|word| (word, origin.begin(code, word)))
                            .collect();
                        for (word, call) in calls {
                            assert_eq!(value(&call), (word + 1).to_le_bytes());
                        }
                    }
                });
            }
        });
        assert_eq!(origin.stats().pending, 0);
    }
}

#[test]
fn sixty_four_mebibytes_go_there_and_come_back() {
    let sent: Vec<u8> = (0..64 << 20)
        .map(|index: u32| (index >> 8) as u8 ^ index as u8)
        .collect();
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let code = origin.code("echo", ECHO);
        for _ in 0..3 {
            let payload = owned(sent.clone());
            let call = origin
                .session
                .call(&code, &payload, &CallOptions::default());
            let call = call.unwrap();
            assert!(value(&call) == sent);
        }
        assert_eq!(origin.stats().archives_sent, 1);
    }
}

#[test]
fn bodies_of_every_size_cross() {
    for transport in TRANSPORTS {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let code = origin.code("echo", ECHO);
        for size in [
            0, 1, 63, 64, 65, 8191, 8192, 65_535, 65_536, 65_537, 1_000_003,
        ] {
            let sent: Vec<u8> = (0..size).map(|index: u32| index as u8).collect();
            let call = origin
                .session
                .call(&code, &owned(sent.clone()), &CallOptions::default());
            assert!(
                value(&call.unwrap()) == sent,
                "{size} bytes over {transport}"
            );
        }
    }
}

#[test]
fn two_origins_share_a_node_and_its_code() {
    let node = Node::start(&["--transport", "shm"]);
    let origins = [(); 2].map(|()| Origin::connect("shm", &node));
    assert_ne!(
        origins[0].session.welcome().session,
        origins[1].session.welcome().session
    );
    std::thread::scope(|scope| {
        for (number, origin) in origins.iter().enumerate() {
            scope.spawn(move || {
                let code = origin.code("add one", ADD_ONE);
                for word in 0..300 {
                    let word = word + number as i64 * 1000;
                    assert_eq!(origin.word(&code, word), word + 1);
                }
            });
        }
    });
    assert_eq!(node.log().matches("code compiled").count(), 1);
}

#[test]
fn a_client_has_sessions_with_several_nodes() {
    let nodes = [(); 3].map(|()| Node::start(&["--transport", "shm"]));
    let first = Origin::connect("shm", &nodes[0]);
    let code = first.code("add one", ADD_ONE);
    let sessions: Vec<_> = nodes
        .iter()
        .map(|node| first.client.connect(node.address(), None, LONG).unwrap())
        .collect();
    for word in 0..50i64 {
        let calls: Vec<_> = sessions
            .iter()
            .map(|session| {
                let payload = owned(word.to_le_bytes().to_vec());
                session
                    .call(&code, &payload, &CallOptions::default())
                    .unwrap()
            })
            .collect();
        for call in &calls {
            assert_eq!(value(call), (word + 1).to_le_bytes());
        }
    }
}

#[test]
fn code_that_was_evicted_is_asked_for_again() {
    let node = Node::start(&["--transport", "shm", "--cache-bytes", "1"]);
    let origin = Origin::connect("shm", &node);
    let codes = ["a", "b"].map(|name| origin.code(name, ADD_ONE));
    for word in 0..5 {
        for code in &codes {
            assert_eq!(origin.word(code, word), word + 1);
        }
    }
    let stats = origin.stats();
    assert_eq!((stats.need_code, stats.archives_sent), (8, 10));
    node.until_logged("code evicted");
}

#[test]
fn a_node_that_started_anew_gets_the_code_anew() {
    let first = Node::start(&["--transport", "shm"]);
    let address = first.address().to_owned();
    let origin = Origin::connect("shm", &first);
    let code = origin.code("add one", ADD_ONE);
    assert_eq!(origin.word(&code, 1), 2);
    drop(first);
    let second = Node::start(&["--transport", "shm", "--listen", &address]);
    crate::support::until("the old session's end", || !origin.session.is_open());
    let session = origin.client.connect(second.address(), None, LONG).unwrap();
    let call = session.call(
        &code,
        &owned(41i64.to_le_bytes().to_vec()),
        &CallOptions::default(),
    );
    assert_eq!(value(&call.unwrap()), 42i64.to_le_bytes());
}

#[test]
fn a_node_that_started_anew_finds_what_the_first_one_compiled() {
    let directory = tempfile::tempdir().unwrap();
    let objects = directory.path().join("objects");
    let start = || {
        let objects = objects.to_str().unwrap();
        Node::start(&["--transport", "shm", "--object-cache", objects])
    };
    for (found, compiled) in [(false, true), (true, false)] {
        let node = start();
        let origin = Origin::connect("shm", &node);
        let code = origin.code("add one", ADD_ONE);
        assert_eq!(origin.word(&code, 1), 2);
        node.until_logged("add one");
        assert_eq!(node.log().contains("code loaded from disk"), found);
        assert_eq!(node.log().contains("code compiled"), compiled);
    }
}

#[test]
fn nodes_share_what_they_compile() {
    let directory = tempfile::tempdir().unwrap();
    let objects = directory.path().join("objects");
    let start = || {
        let objects = objects.to_str().unwrap();
        Node::start(&["--transport", "shm", "--object-cache", objects])
    };
    let nodes = [start(), start(), start()];
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(move || {
                let origin = Origin::connect("shm", node);
                for name in ["a", "b", "c", "d", "e"] {
                    assert_eq!(origin.word(&origin.code(name, ADD_ONE), 1), 2);
                }
            });
        }
    });
    // Whoever was first: five files, none of them half written, none damaged.
    assert_eq!(std::fs::read_dir(&objects).unwrap().count(), 5);
    let node = start();
    let origin = Origin::connect("shm", &node);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(origin.word(&origin.code(name, ADD_ONE), 1), 2);
    }
    // The answer may be here before the log's last line is.
    crate::support::until("five codes from disk", || {
        node.log().matches("code loaded from disk").count() == 5
    });
    assert!(!node.log().contains("code compiled"));
}

#[test]
fn a_long_call_holds_nobody_up() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    let add = origin.code("add one", ADD_ONE);
    // Known to be short, so that the leader itself runs it: and then it is not.
    for _ in 0..100 {
        origin.word(&count, 10);
        origin.word(&add, 1);
    }
    let long = origin.begin(&count, -1);
    let start = Instant::now();
    for word in 0..100 {
        assert_eq!(origin.word(&add, word), word + 1);
    }
    assert!(start.elapsed() < LONG / 2);
    assert_eq!(long.state(), CallState::Pending);
}

#[test]
fn more_long_calls_than_threads_do_not_block_short_ones() {
    let node = Node::start(&["--transport", "shm", "--threads", "1"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    let long: Vec<_> = (0..4).map(|_| origin.begin(&count, -1)).collect();
    let add = origin.code("add one", ADD_ONE);
    assert_eq!(origin.word(&add, 1), 2);
    assert!(long.iter().all(|call| call.state() == CallState::Pending));
}

#[test]
fn a_result_that_nobody_wants_is_acknowledged_at_once() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    let options = CallOptions::default().no_result(true);
    let payload = owned((-1i64).to_le_bytes().to_vec());
    let call = origin.session.call(&count, &payload, &options).unwrap();
    assert_eq!(value(&call), b"");
}

#[test]
fn large_results_come_without_large_arguments() {
    let node = Node::start(&["--transport", "tcp"]);
    let origin = Origin::connect("tcp", &node);
    let code = origin.code("bytes", BYTES);
    for count in [0, 64, 65, 20_000, 5_000_000] {
        assert_eq!(value(&origin.begin(&code, count)).len(), count as usize);
    }
}

#[test]
fn a_ping_is_answered() {
    let node = Node::start(&["--transport", "tcp"]);
    let origin = Origin::connect("tcp", &node);
    let ping = origin.session.ping(&CallOptions::default()).unwrap();
    assert_eq!(value(&ping), b"");
}
