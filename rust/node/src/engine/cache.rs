//! The code cache: what has been compiled, and who waits for what is being compiled.
//!
//! Bounded by bytes, least recently used first. Whoever runs an entry holds it, so that evicted code goes on running
//! and its memory is freed when the last run of it ends. However many calls bring the same archive at once, it is
//! compiled once: the first claims it, the others wait in the cache.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bitcode_wire::code::{CodeId, CodePrefix};
use parking_lot::Mutex;

/// Compiled code with what is known about it.
pub(crate) struct Entry<P> {
    pub(crate) id: CodeId,
    pub(crate) name: String,
    pub(crate) program: P,
    pub(crate) pace: Pace,
    /// The archive, of code that may take it to other nodes.
    pub(crate) archive: Option<Arc<Vec<u8>>>,
    /// The code that it links to: here for as long.
    _linked: Vec<Arc<Entry<P>>>,
    bytes: usize,
    used: AtomicU64,
    evicted: AtomicBool,
}

impl<P> Entry<P> {
    pub(crate) fn new(
        id: CodeId,
        name: String,
        program: P,
        archive: Option<Arc<Vec<u8>>>,
        bytes: usize,
    ) -> Self {
        Self {
            id,
            name,
            program,
            pace: Pace::default(),
            archive,
            _linked: Vec::new(),
            bytes,
            used: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
        }
    }

    /// The same, keeping the code that it links to.
    pub(crate) fn linking(self, linked: Vec<Arc<Self>>) -> Self {
        Self {
            _linked: linked,
            ..self
        }
    }

    /// Whether the cache has let go of it.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// How long a code's runs take: a moving average, in nanoseconds.
#[derive(Default)]
pub(crate) struct Pace(AtomicU32);

impl Pace {
    /// Notes a run. A shorter run than usual counts more than a longer one, which may just have been interrupted.
    pub(crate) fn note(&self, ns: u128) {
        let ns = u32::try_from(ns).unwrap_or(u32::MAX).max(1);
        let old = self.0.load(Ordering::Relaxed);
        let new = match old {
            0 => ns,
            _ if ns < old => old - (old - ns) / 2,
            _ => old + (ns - old) / 8,
        };
        self.0.store(new.max(1), Ordering::Relaxed);
    }

    /// Notes that a run was so long that its thread lost the leader's role.
    pub(crate) fn note_long(&self, ns: u128) {
        let ns = u32::try_from(ns).unwrap_or(u32::MAX);
        self.0.fetch_max(ns, Ordering::Relaxed);
    }

    /// Whether runs are known to take less than `limit_ns`.
    pub(crate) fn is_below(&self, limit_ns: u32) -> bool {
        let pace = self.0.load(Ordering::Relaxed);
        pace != 0 && pace < limit_ns
    }
}

/// What the cache knows of a code.
enum State<P, W> {
    Ready(Arc<Entry<P>>),
    /// Being compiled; these wait for it.
    Claimed(Vec<W>),
}

/// The answer to a call that wants a code.
pub(crate) enum Found<P, W> {
    /// Here it is, and the call back.
    Ready(Arc<Entry<P>>, W),
    /// It is being compiled, and the call waits for it in the cache.
    Waiting,
    /// The call is the first to bring it: compile it, then [`Cache::settle`].
    Claimed(W),
    /// It is not here, and the call did not bring it.
    Missing(W),
}

/// Hashes a code prefix by taking eight of its bytes: it is a hash already. Numbers that this node gives itself, one after the other, do as
/// well.
#[derive(Default)]
pub(crate) struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    // The length that `Hash for [u8; N]` writes adds nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type Map<P, W> = HashMap<CodePrefix, State<P, W>, BuildHasherDefault<PrefixHasher>>;

/// The cache. `W` is a call that waits.
pub(crate) struct Cache<P, W> {
    inner: Mutex<Inner<P, W>>,
    clock: AtomicU64,
    limit: usize,
}

struct Inner<P, W> {
    map: Map<P, W>,
    bytes: usize,
    ready: usize,
}

impl<P, W> Cache<P, W> {
    /// An empty cache of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                map: Map::default(),
                bytes: 0,
                ready: 0,
            }),
            clock: AtomicU64::new(0),
            limit,
        }
    }

    /// Notes that an entry was used.
    pub(crate) fn touch(&self, entry: &Entry<P>) {
        // Two threads may read the same time; the order of such uses does not matter.
        let now = self.clock.load(Ordering::Relaxed) + 1;
        self.clock.store(now, Ordering::Relaxed);
        entry.used.store(now, Ordering::Relaxed);
    }

    /// Finds the code for a call. `brings` says that the call carries the archive.
    pub(crate) fn find(&self, prefix: CodePrefix, brings: bool, call: W) -> Found<P, W> {
        let mut inner = self.inner.lock();
        match inner.map.entry(prefix) {
            MapEntry::Occupied(mut place) => match place.get_mut() {
                State::Ready(entry) => {
                    self.touch(entry);
                    Found::Ready(Arc::clone(entry), call)
                }
                State::Claimed(waiting) => {
                    waiting.push(call);
                    Found::Waiting
                }
            },
            MapEntry::Vacant(place) if brings => {
                place.insert(State::Claimed(Vec::new()));
                Found::Claimed(call)
            }
            MapEntry::Vacant(_) => Found::Missing(call),
        }
    }

    /// Whether this code is the caller's to compile now, without a call that wants it; then [`Cache::settle`].
    pub(crate) fn claim(&self, prefix: CodePrefix) -> bool {
        match self.inner.lock().map.entry(prefix) {
            MapEntry::Occupied(_) => false,
            MapEntry::Vacant(place) => {
                place.insert(State::Claimed(Vec::new()));
                true
            }
        }
    }

    /// The code of this id, if it is here. Not a use of it.
    pub(crate) fn peek(&self, prefix: CodePrefix) -> Option<Arc<Entry<P>>> {
        match self.inner.lock().map.get(&prefix)? {
            State::Ready(entry) => Some(Arc::clone(entry)),
            State::Claimed(_) => None,
        }
    }

    /// Settles a claim: keeps the entry, or forgets the code if there is none. Returns the calls that waited for it.
    pub(crate) fn settle(&self, prefix: CodePrefix, entry: Option<Arc<Entry<P>>>) -> Settled<P, W> {
        let mut inner = self.inner.lock();
        let claimed = inner.map.remove(&prefix);
        let mut evicted = Vec::new();
        if let Some(entry) = entry {
            self.touch(&entry);
            inner.bytes += entry.bytes;
            inner.ready += 1;
            inner.map.insert(prefix, State::Ready(entry));
            while inner.bytes > self.limit && inner.ready > 1 {
                let Some(oldest) = inner.oldest() else { break };
                evicted.extend(inner.forget(oldest));
            }
        }
        Settled {
            waiting: match claimed {
                Some(State::Claimed(waiting)) => waiting,
                _ => Vec::new(),
            },
            evicted,
        }
    }

    /// Number of entries and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.ready, inner.bytes)
    }
}

/// What came of settling a claim.
pub(crate) struct Settled<P, W> {
    /// The calls that waited.
    pub(crate) waiting: Vec<W>,
    /// What had to go; to be dropped outside the cache's lock, since freeing code takes a while.
    pub(crate) evicted: Vec<Arc<Entry<P>>>,
}

impl<P, W> Inner<P, W> {
    fn oldest(&self) -> Option<CodePrefix> {
        let used = |state: &State<P, W>| match state {
            State::Ready(entry) => Some(entry.used.load(Ordering::Relaxed)),
            State::Claimed(_) => None,
        };
        self.map
            .iter()
            .filter_map(|(prefix, state)| Some((used(state)?, *prefix)))
            .min_by_key(|(used, _)| *used)
            .map(|(_, prefix)| prefix)
    }

    fn forget(&mut self, prefix: CodePrefix) -> Option<Arc<Entry<P>>> {
        match self.map.remove(&prefix) {
            Some(State::Ready(entry)) => {
                entry.evicted.store(true, Ordering::Relaxed);
                self.bytes -= entry.bytes;
                self.ready -= 1;
                Some(entry)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &CodeId, bytes: usize) -> Arc<Entry<&'static str>> {
        Arc::new(Entry::new(*id, "f".into(), "program", None, bytes))
    }

    fn is_ready(cache: &Cache<&'static str, u32>, id: &CodeId) -> bool {
        matches!(cache.find(id.prefix(), false, 0), Found::Ready(..))
    }

    #[test]
    fn the_first_call_claims_and_the_others_wait() {
        let cache = Cache::new(100);
        let id = CodeId::of(b"code");
        assert!(matches!(
            cache.find(id.prefix(), false, 1),
            Found::Missing(1)
        ));
        assert!(matches!(
            cache.find(id.prefix(), true, 2),
            Found::Claimed(2)
        ));
        assert!(matches!(cache.find(id.prefix(), true, 3), Found::Waiting));
        assert!(matches!(cache.find(id.prefix(), false, 4), Found::Waiting));
        let settled = cache.settle(id.prefix(), Some(entry(&id, 10)));
        assert_eq!(settled.waiting, [3, 4]);
        assert!(is_ready(&cache, &id));
        assert_eq!(cache.size(), (1, 10));
    }

    #[test]
    fn a_claim_that_fails_leaves_nothing() {
        let cache: Cache<&str, u32> = Cache::new(100);
        let id = CodeId::of(b"code");
        assert!(matches!(
            cache.find(id.prefix(), true, 1),
            Found::Claimed(1)
        ));
        assert!(matches!(cache.find(id.prefix(), false, 2), Found::Waiting));
        assert_eq!(cache.settle(id.prefix(), None).waiting, [2]);
        assert!(matches!(
            cache.find(id.prefix(), false, 3),
            Found::Missing(3)
        ));
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_newest_stays_whatever_its_size() {
        let cache = Cache::new(100);
        let ids = [b"a", b"b", b"c", b"d"].map(|name| CodeId::of(name));
        for id in &ids[..3] {
            let _ = cache.find(id.prefix(), true, 0);
            let _ = cache.settle(id.prefix(), Some(entry(id, 40)));
        }
        assert!(!is_ready(&cache, &ids[0]), "the oldest of three went");
        assert!(is_ready(&cache, &ids[1]), "and now b is younger than c");
        let _ = cache.find(ids[0].prefix(), true, 0);
        let back = cache.settle(ids[0].prefix(), Some(entry(&ids[0], 40)));
        assert_eq!(back.evicted.len(), 1);
        assert!(back.evicted[0].is_evicted() && back.evicted[0].id == ids[2]);
        let _ = cache.find(ids[3].prefix(), true, 0);
        let _ = cache.settle(ids[3].prefix(), Some(entry(&ids[3], 1000)));
        assert!(is_ready(&cache, &ids[3]));
        assert_eq!(cache.size(), (1, 1000));
    }

    #[test]
    fn evicted_code_lives_while_it_is_held() {
        let cache: Cache<&str, u32> = Cache::new(10);
        let ids = [CodeId::of(b"a"), CodeId::of(b"b")];
        let held = entry(&ids[0], 10);
        for (id, entry) in [(ids[0], held.clone()), (ids[1], entry(&ids[1], 10))] {
            let _ = cache.find(id.prefix(), true, 0);
            let _ = cache.settle(id.prefix(), Some(entry));
        }
        assert!(held.is_evicted());
        assert_eq!(held.program, "program");
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn pace_follows_quickly_down_and_slowly_up() {
        let pace = Pace::default();
        assert!(!pace.is_below(u32::MAX), "unknown is not short");
        pace.note(100_000);
        for _ in 0..8 {
            pace.note(1000);
        }
        assert!(pace.is_below(2000));
        pace.note(10_000);
        assert!(
            pace.is_below(4000),
            "one interruption does not make it long"
        );
        pace.note_long(1_000_000);
        assert!(!pace.is_below(500_000));
    }
}
