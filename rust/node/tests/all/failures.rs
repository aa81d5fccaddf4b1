//! Calls that go wrong, and processes that die.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bitcode_client::{CallOptions, CallState, ClientError};
use bitcode_wire::error::ErrorCode;

use crate::archives::{ADD_ONE, BYTES, COUNT, CRASH, ECHO, UNRESOLVED};
use crate::support::{LONG, Node, Origin, error, owned, until};

fn remote_code(error: &ClientError) -> ErrorCode {
    match error {
        ClientError::Remote { code, .. } => *code,
        other => panic!("{other:?} is not the node's"),
    }
}

#[test]
fn a_crash_is_an_error_and_the_node_lives_on() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let crash = origin.code("crash", CRASH);
    let add = origin.code("add one", ADD_ONE);
    for _ in 0..5 {
        let failure = error(&origin.begin(&crash, 0));
        assert_eq!(remote_code(&failure), ErrorCode::FAULT);
        assert!(failure.to_string().contains("signal 11"), "{failure}");
        assert_eq!(origin.word(&add, 1), 2);
    }
}

#[test]
fn code_that_a_node_cannot_link_is_refused_by_name() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let failure = error(&origin.begin(&origin.code("unresolved", UNRESOLVED), 0));
    assert_eq!(remote_code(&failure), ErrorCode::UNRESOLVED_SYMBOL);
    assert!(
        failure.to_string().contains("jl_nothing_like_it"),
        "{failure}"
    );
}

#[test]
fn an_image_that_is_no_bitcode_is_refused() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let mut archive = crate::archives::archive("spoilt", ADD_ONE);
    let magic = archive
        .windows(4)
        .position(|four| four == b"BC\xC0\xDE")
        .unwrap();
    archive[magic + 20..magic + 400].fill(0xFF);
    let failure = error(&origin.begin(&origin.client.code(archive).unwrap(), 0));
    assert_eq!(remote_code(&failure), ErrorCode::BAD_IMAGE);
    assert_eq!(origin.word(&origin.code("add one", ADD_ONE), 1), 2);
}

#[test]
fn a_result_above_the_limit_is_refused() {
    let node = Node::start(&["--transport", "shm", "--max-frame", "1000000"]);
    let origin = Origin::connect("shm", &node);
    let failure = error(&origin.begin(&origin.code("bytes", BYTES), 1_000_001));
    assert_eq!(remote_code(&failure), ErrorCode::TOO_LARGE);
    let echo = origin.code("echo", ECHO);
    let refused = origin
        .session
        .call(&echo, &owned(vec![0; 1_000_001]), &CallOptions::default())
        .unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge(_)), "{refused}");
}

#[test]
fn a_deadline_ends_a_call_that_does_not() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    origin.word(&count, 1);
    let options = CallOptions::default().deadline(Some(Duration::from_millis(200)));
    let payload = owned((-1i64).to_le_bytes().to_vec());
    let call = origin.session.call(&count, &payload, &options).unwrap();
    let failure = error(&call);
    assert!(matches!(failure, ClientError::Timeout(_)), "{failure}");
    assert_eq!(origin.stats().timeouts, 1);
    assert_eq!(origin.word(&count, 10), 10);
}

#[test]
fn a_killed_node_fails_what_is_pending_promptly() {
    for transport in ["shm", "tcp"] {
        let mut node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let count = origin.code("count", COUNT);
        let calls: Vec<_> = (0..3).map(|_| origin.begin(&count, -1)).collect();
        until("the first call", || node.log().contains("code compiled"));
        node.child.kill().unwrap();
        let start = Instant::now();
        for call in &calls {
            let failure = error(call);
            assert!(matches!(failure, ClientError::PeerDied(_)), "{failure}");
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        assert!(!origin.session.is_open());
        let refused = origin
            .session
            .call(&count, &owned(vec![0; 8]), &CallOptions::default())
            .unwrap_err();
        assert!(matches!(refused, ClientError::PeerDied(_)), "{refused}");
    }
}

#[test]
fn a_large_body_under_way_to_a_node_that_dies_is_let_go_of() {
    for transport in ["shm", "tcp"] {
        let mut node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let echo = origin.code("echo", ECHO);
        // Stopped, it does not fetch what is offered.
        node.signal("STOP");
        let payload = owned(vec![7; 64 << 20]);
        let call = origin
            .session
            .call(&echo, &payload, &CallOptions::default());
        let call = call.unwrap();
        assert_eq!(
            call.wait(Some(Duration::from_millis(50))),
            CallState::Pending
        );
        node.child.kill().unwrap();
        let failure = error(&call);
        assert!(matches!(failure, ClientError::PeerDied(_)), "{failure}");
    }
}

#[test]
fn stopping_tells_those_who_wait() {
    let mut node = Node::start(&["--transport", "shm", "--grace-ms", "100"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    let running = origin.begin(&count, -1);
    until("the call", || node.log().contains("code compiled"));
    node.signal("TERM");
    let failure = error(&running);
    assert!(matches!(failure, ClientError::PeerDied(_)), "{failure}");
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("clean=false"), "{log}");
}

#[test]
fn closing_here_fails_what_is_pending_here() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let call = origin.begin(&origin.code("count", COUNT), -1);
    origin.session.close();
    let failure = error(&call);
    assert!(
        matches!(failure, ClientError::SessionClosed(_)),
        "{failure}"
    );
    node.until_logged("session closed");
}

#[test]
fn a_client_that_is_shut_down_ends_its_sessions_but_not_its_handles() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let count = origin.code("count", COUNT);
    let call = origin.begin(&count, -1);
    origin.client.shut_down();
    assert!(matches!(error(&call), ClientError::SessionClosed(_)));
    assert!(!origin.session.is_open());
    assert!(origin.client.connect(node.address(), None, LONG).is_err());
}

/// Not a test by itself: the process that [`a_client_killed_in_the_middle_of_a_call_is_forgotten`] kills.
#[test]
fn child_that_calls_for_ever() {
    let Ok(address) = std::env::var("BITCODE_TEST_NODE") else {
        return;
    };
    let transport = std::env::var("BITCODE_TEST_TRANSPORT").unwrap();
    let client = crate::support::client(&transport);
    let session = client.connect(&address, None, LONG).unwrap();
    let code = client
        .code(crate::archives::archive("count", COUNT))
        .unwrap();
    let echo = client.code(crate::archives::archive("echo", ECHO)).unwrap();
    let payload = owned((-1i64).to_le_bytes().to_vec());
    let _call = session
        .call(&code, &payload, &CallOptions::default())
        .unwrap();
    loop {
        let payload = owned(vec![1; 8 << 20]);
        let call = session
            .call(&echo, &payload, &CallOptions::default())
            .unwrap();
        call.wait(None);
    }
}

#[test]
fn a_client_killed_in_the_middle_of_a_call_is_forgotten() {
    for transport in ["shm", "tcp"] {
        let node = Node::start(&["--transport", transport]);
        let origin = Origin::connect(transport, &node);
        let add = origin.code("add one", ADD_ONE);
        for _ in 0..3 {
            let before = node.log().matches("session closed").count();
            let compiled = node.log().matches("session opened").count();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "failures::child_that_calls_for_ever"])
                .env("BITCODE_TEST_NODE", node.address())
                .env("BITCODE_TEST_TRANSPORT", transport)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            until("the child's session", || {
                node.log().matches("session opened").count() > compiled
            });
            // Somewhere in the middle of things.
            for word in 0..2000 {
                assert_eq!(origin.word(&add, word), word + 1);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            until("the session's end", || {
                node.log().matches("session closed").count() > before
            });
            for word in 0..100 {
                assert_eq!(origin.word(&add, word), word + 1);
            }
        }
    }
}
