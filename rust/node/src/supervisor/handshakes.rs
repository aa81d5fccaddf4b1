//! Handshakes under way. Until the end of one nobody knows who it is with, so they are few; but whoever keeps silent must
//! not keep others out, so the oldest makes room for the newest. An honest one takes milliseconds.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The most handshakes at once.
pub(super) const MOST: usize = 64;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Handshakes {
    under_way: Mutex<VecDeque<(u64, TcpStream)>>,
    next: AtomicU64,
}

/// A handshake under way, until dropped.
pub(super) struct UnderWay {
    all: Arc<Handshakes>,
    number: u64,
}

impl Handshakes {
    /// Begins one. If there are too many, the oldest is closed, and `crowded` is true.
    ///
    /// # Errors
    /// The system's: there are no more file descriptors.
    pub(super) fn begin(self: &Arc<Self>, stream: &TcpStream) -> std::io::Result<Begun> {
        let stream = stream.try_clone()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut under_way = self.under_way.lock();
        let oldest = (under_way.len() >= MOST).then(|| under_way.pop_front());
        under_way.push_back((number, stream));
        drop(under_way);
        let oldest = oldest.flatten();
        if let Some((_, stream)) = &oldest {
            // If it is closed already, so much the better.
            let _ = stream.shutdown(Shutdown::Both);
        }
        Ok(Begun {
            crowded: oldest.is_some(),
            under_way: UnderWay {
                all: Arc::clone(self),
                number,
            },
        })
    }
}

/// What [`Handshakes::begin`] answers.
pub(super) struct Begun {
    /// Another one had to make room.
    pub(super) crowded: bool,
    /// The new one.
    pub(super) under_way: UnderWay,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.all.under_way.lock();
        all.retain(|(number, _)| *number != self.number);
    }
}
