//! Processes that are killed while they send, over and over, and their peer's other peers, who must not notice.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is a failure with its place"
)]

#[expect(dead_code, reason = "what other tests use")]
mod other;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bitcode_transport::{Event, Fabric, PeerId, Segment, Token, UcxFabric};
use other::{Other, TRANSPORTS, header, long_enough};

const ROUNDS: u64 = 60;

/// What the spawned process runs; nothing in the parent.
#[test]
fn the_other_process() {
    other::run();
}

/// Sends one frame to a peer that echoes and waits for its answer, whatever else comes in meanwhile.
fn ping(fabric: &UcxFabric, peer: PeerId, number: u8, others: &mut dyn FnMut()) {
    let bytes = [number];
    let ping = [Segment::borrowed(&bytes)];
    let _ = fabric.send(peer, &header(number), &ping, Token(0)).unwrap();
    let end = long_enough();
    let mut answered = false;
    while !answered {
        fabric.poll(&mut |event: Event| match event {
            Event::Frame { body, .. } if body.bytes() == [number] => answered = true,
            Event::Frame { .. } => others(),
            Event::PeerFailed { peer: failed, .. } => assert_ne!(failed, peer),
            Event::Sent { .. } => {}
        });
        assert!(
            std::time::Instant::now() < end,
            "a ping to a living peer is not answered"
        );
    }
}

/// Kills a process while another is pinged.
fn kill_while_pinging(
    fabric: &Arc<UcxFabric>,
    peer: PeerId,
    mut victim: Other,
    round: u64,
    others: &mut dyn FnMut(),
) {
    let dead = AtomicBool::new(false);
    let of_victim = victim.peer;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Any time does, as long as it is not always the same.
            std::thread::sleep(Duration::from_micros(3000 + 77 * round));
            victim.kill();
            dead.store(true, Ordering::Relaxed);
        });
        let mut number = 0u8;
        while !dead.load(Ordering::Relaxed) {
            number = number.wrapping_add(1);
            ping(fabric, peer, number, others);
        }
    });
    for number in 0..20 {
        ping(fabric, peer, number, &mut || {});
    }
    fabric.remove_peer(of_victim);
    for number in 0..20 {
        ping(fabric, peer, number, &mut || {});
    }
}

#[test]
fn a_killed_sender_is_no_ones_concern() {
    for transport in TRANSPORTS {
        let fabric = other::new_fabric(transport);
        let living = Other::beside(&fabric, transport, "echo");
        for round in 0..ROUNDS {
            let victim = Other::beside(&fabric, transport, "flood");
            let mut frames = 0;
            kill_while_pinging(&fabric, living.peer, victim, round, &mut || frames += 1);
        }
        assert_eq!(fabric.pending_sends(), 0);
    }
}

#[test]
fn a_peer_killed_while_it_answers_is_no_ones_concern() {
    for transport in TRANSPORTS {
        let fabric = other::new_fabric(transport);
        let living = Other::beside(&fabric, transport, "echo");
        let owner = Arc::new(vec![7; 100_000]);
        for round in 0..ROUNDS {
            let victim = Other::beside(&fabric, transport, "echo");
            let peer = victim.peer;
            let ask = || {
                let question = [Segment::shared(Arc::clone(&owner))];
                // It may be dead by now.
                let _ = fabric.send(peer, &header(2), &question, Token(1));
            };
            for _ in 0..4 {
                ask();
            }
            // Each answer is followed by another question.
            kill_while_pinging(&fabric, living.peer, victim, round, &mut { ask });
        }
        let end = long_enough();
        while fabric.pending_sends() > 0 {
            fabric.poll(&mut |_: Event| {});
            assert!(
                std::time::Instant::now() < end,
                "sends to the dead never end"
            );
        }
        assert_eq!(Arc::strong_count(&owner), 1, "nobody reads it any more");
    }
}
