//! Posts: calls that nobody waits for, of which several go in one frame.
//!
//! The first one goes out at once. Those that follow before the node has acknowledged it are collected, and go when it has, or when they fill
//! a frame: Nagle's algorithm (RFC 896), which keeps a lone call as quick as ever and makes a stream of them as cheap for both sides as its
//! bytes. A call that somebody does wait for sends what was collected before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, Segment, body_len};
use bitcode_wire::frame::{Kind, Payloads};
use parking_lot::MutexGuard;

use crate::core::Core;
use crate::directory::Directory;
use crate::session::SessionCore;
use crate::{CallOptions, ClientError, Code};

/// The longest payload of a call that is collected.
const LONGEST: usize = 2 << 10;
/// So many bytes fill a frame: with the longest payload it is still one that UCX sends over shared memory as one piece, of 8 KiB.
const FULL: usize = (6 << 10) - 256;
/// Frames that may be under way before whoever posts more waits a moment for the node.
const WINDOW: u32 = 4;
/// That moment. A node that takes longer gets more frames all the same: it may be waiting for something that the caller does next.
const MOMENT: Duration = Duration::from_micros(50);
/// Whoever posts looks at each so many calls whether the node has acknowledged some. What was collected by then goes in one frame: over shared memory,
/// where a node has acknowledged by the first look, the fewer, the less a call gains.
const LOOK_EVERY: usize = 64;

/// The calls of one session that wait to be sent.
#[derive(Default)]
pub(crate) struct Posts {
    payloads: Payloads,
    /// Which code, and with what limits.
    like: Option<Like>,
    /// Frames that have not been acknowledged.
    under_way: u32,
}

/// What calls in one frame have in common.
struct Like {
    code: Code,
    directory: Option<Arc<Directory>>,
    options: CallOptions,
}

impl Like {
    fn is(&self, code: &Code, directory: Option<&Arc<Directory>>, options: &CallOptions) -> bool {
        let own = self.directory.as_ref().map(Arc::as_ptr);
        self.code.is(code)
            && own == directory.map(Arc::as_ptr)
            && self.options.hop_budget == options.hop_budget
            && self.options.fan_out == options.fan_out
    }
}

impl Posts {
    fn is_full(&self) -> bool {
        self.payloads.len() >= Payloads::MOST
            || self.payloads.bytes() + size_of::<u32>() * self.payloads.len() >= FULL
    }
}

impl<F: Fabric> Core<F> {
    /// Makes a call that nobody waits for, whose payload is copied. `false`: it is not one that can be collected, and is to be made
    /// as others are.
    pub(crate) fn post(
        &self,
        session: &Arc<SessionCore>,
        code: &Code,
        directory: Option<&Arc<Directory>>,
        payload: &[Segment<'static>],
        options: &CallOptions,
    ) -> Result<bool, ClientError> {
        // Calls that start others share the count of those if they share a frame.
        let alike = options.no_result && !options.show && !options.timed && !code.spawns();
        let short = body_len(payload).is_some_and(|len| len <= LONGEST);
        if !alike || !short || options.deadline.is_some() || !session.known.contains(code.number())
        {
            return Ok(false);
        }
        session.check_open()?;
        let mut posts = session.posts.lock();
        if posts
            .like
            .as_ref()
            .is_some_and(|it| !it.is(code, directory, options))
        {
            self.send_posts(session, posts)?;
            posts = session.posts.lock();
        }
        if posts.under_way > 0 && posts.payloads.len().is_multiple_of(LOOK_EVERY) {
            drop(posts);
            self.note_driven();
            self.poll_peer(session.peer);
            posts = session.posts.lock();
        }
        posts.like.get_or_insert_with(|| Like {
            code: code.clone(),
            directory: directory.cloned(),
            options: *options,
        });
        posts.payloads.push(payload.iter().map(Segment::as_bytes));
        if posts.under_way > 0 && !posts.is_full() {
            session.has_posts.store(true, Ordering::Relaxed);
            return Ok(true);
        }
        let many = posts.under_way >= WINDOW;
        self.send_posts(session, posts)?;
        if many {
            self.await_acknowledgement(session);
        }
        Ok(true)
    }

    /// Sends the calls that were collected, if there are some.
    pub(crate) fn flush_posts(&self, session: &Arc<SessionCore>) -> Result<(), ClientError> {
        if session.has_posts.load(Ordering::Relaxed) {
            self.send_posts(session, session.posts.lock())?;
        }
        Ok(())
    }

    /// The lock is let go of before anything is sent: the call's end, which may come at once, wants it.
    fn send_posts(
        &self,
        session: &Arc<SessionCore>,
        mut posts: MutexGuard<'_, Posts>,
    ) -> Result<(), ClientError> {
        session.has_posts.store(false, Ordering::Relaxed);
        let calls = posts.payloads.len();
        let Some(Like {
            code,
            directory,
            options,
        }) = posts.like.take()
        else {
            return Ok(());
        };
        let payload = Segment::shared(Arc::new(posts.payloads.take()));
        posts.under_way += 1;
        drop(posts);
        let options = CallOptions {
            posted: calls as u64,
            ..options
        };
        let directory = directory.as_ref();
        let sent = self.begin(
            session,
            Kind::Call,
            Some(&code),
            directory,
            &[payload],
            &options,
        );
        sent.map(|_| ())
            .inspect_err(|_| session.posts.lock().under_way -= 1)
    }

    /// A frame of posts is over, however it ended.
    pub(crate) fn acknowledged(&self, session: &Arc<SessionCore>) {
        let mut posts = session.posts.lock();
        posts.under_way -= 1;
        if posts.under_way == 0
            && let Err(error) = self.send_posts(session, posts)
        {
            // Nobody waits for them: a session that has failed says so to its next caller.
            tracing::debug!(%error, node = session.name, "calls that nobody waits for were not sent");
        }
    }

    fn await_acknowledgement(&self, session: &SessionCore) {
        let start = Instant::now();
        while start.elapsed() < MOMENT && session.posts.lock().under_way >= WINDOW {
            if self.poll_peer(session.peer) == 0 {
                std::thread::yield_now();
            }
        }
    }
}
