//! Peers that go leave nothing behind. In a process of its own: it counts what the whole process has.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is a failure with its place"
)]

use std::time::{Duration, Instant};

use bitcode_transport::{
    Event, Fabric, HeaderBytes, PeerId, Settings, Token, TransportChoice, UcxFabric,
};

const HEADER: HeaderBytes = [3; 64];
/// After so many rounds libraries have what they keep for good.
const SETTLED: usize = 20;
const ROUNDS: usize = 200;
/// Mappings that an allocator may have made meanwhile; a lane has several.
const SPARE: usize = 20;

/// Open files and mappings of this process.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    files: usize,
    mappings: usize,
}

impl Footprint {
    fn now() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        Self {
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: maps.lines().count(),
        }
    }

    fn is_within(self, before: Self) -> bool {
        self.files <= before.files && self.mappings <= before.mappings + SPARE
    }
}

/// Drives both fabrics until `so` of what has happened and of what the process has.
fn until(fabrics: [&UcxFabric; 2], what: &str, mut so: impl FnMut(Option<&Event>) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    let mut done = false;
    while !done {
        for fabric in fabrics {
            fabric.poll(&mut |event: Event| done |= so(Some(&event)));
        }
        done = done || so(None);
        assert!(Instant::now() < end, "{what} did not happen");
    }
}

/// Makes the fabrics peers of each other, sends a frame, and has them forget each other.
fn meet_and_part(here: &UcxFabric, there: &UcxFabric) {
    let (peer, to_here): (PeerId, _) = here.open_peer().unwrap();
    let (back, to_there) = there.open_peer().unwrap();
    there.connect_peer(back, &to_here).unwrap();
    here.connect_peer(peer, &to_there).unwrap();
    // Whether it has left already does not matter: its arrival is waited for.
    let _ = here.send(peer, &HEADER, &[], Token(0)).unwrap();
    until([here, there], "a frame", |event| {
        matches!(event, Some(Event::Frame { .. }))
    });
    here.remove_peer(peer);
    there.remove_peer(back);
}

#[test]
fn peers_that_go_leave_nothing_behind() {
    for choice in [TransportChoice::Shm, TransportChoice::Tcp] {
        let settings = Settings::with_transport(choice);
        let here = UcxFabric::new(&settings).unwrap();
        let there = UcxFabric::new(&settings).unwrap();
        let mut before = Footprint::now();
        for round in 0..ROUNDS {
            meet_and_part(&here, &there);
            if round == SETTLED {
                before = Footprint::now();
            }
        }
        // Lanes end when their last request has.
        until([&here, &there], "the lanes' end", |_| {
            Footprint::now().is_within(before)
        });
    }
}
