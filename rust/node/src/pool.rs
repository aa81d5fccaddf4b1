//! The engine's threads: one leads, the others work, and a watchdog sees to it that one always leads.
//!
//! Every thread has a large stack, of which only what is used takes memory, because any of them may run shipped code.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, Patience};
use parking_lot::Mutex;
use tracing::{debug, error};

use crate::engine::{Beat, Engine, Leader, Next, OutputOf};
use crate::loader::Loader;

/// Settings of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Threads that stay, the leader among them.
    pub threads: usize,
    /// The most threads; more than `threads` only while calls wait for long.
    pub most_threads: usize,
    /// Address space of a thread's stack.
    pub stack_bytes: usize,
    /// How long the leader goes on driving after the last delivery before it sleeps, on cores that suffice (see [`Patience`]).
    pub spin: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: cores + 1,
            most_threads: (cores * 8).max(64),
            stack_bytes: 64 << 20,
            spin: Duration::from_micros(50),
        }
    }
}

/// How often the watchdog looks while shipped code runs on the leader: a run that it sees twice has lost the lead.
const TICK: Duration = Duration::from_micros(250);
/// How long the watchdog's looks may be apart while the leader is awake but runs nothing long.
const LONG_TICK: Duration = Duration::from_millis(16);
/// How long a job may wait before another thread is made for it.
const JOB_PATIENCE: Duration = Duration::from_millis(5);
/// How long a surplus thread stays without work.
const THREAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long the leader sleeps when nothing happens.
const LONG_SLEEP: Duration = Duration::from_secs(1);
/// The running threads of an engine. [`Pool::stop`] ends them.
pub struct Pool<F: Fabric + 'static, L: Loader> {
    shared: Arc<Shared<F, L>>,
    watchdog: Option<JoinHandle<()>>,
}

struct Shared<F: Fabric, L: Loader> {
    engine: Arc<Engine<F, L>>,
    settings: PoolSettings,
    /// Who leads, and the beat to watch.
    lead: Mutex<(u64, Arc<Beat<L::Program>>)>,
    /// The leader sleeps: there is nothing to watch.
    asleep: AtomicBool,
    /// The watchdog sleeps until it is woken.
    unwatched: AtomicBool,
    watchdog: OnceLock<Thread>,
    stop: AtomicBool,
}

impl<F: Fabric, L: Loader> Pool<F, L> {
    /// Starts the engine's threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(engine: Arc<Engine<F, L>>, settings: PoolSettings) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            engine,
            settings,
            lead: Mutex::new((0, Arc::new(Beat::default()))),
            asleep: AtomicBool::new(false),
            unwatched: AtomicBool::new(false),
            watchdog: OnceLock::new(),
            stop: AtomicBool::new(false),
        });
        let mut pool = Self {
            shared: Arc::clone(&shared),
            watchdog: None,
        };
        for _ in 0..shared.settings.threads.max(2) {
            spawn(&shared)?;
        }
        let watchdog = std::thread::Builder::new()
            .name("bitcode-watchdog".into())
            .stack_size(256 << 10)
            .spawn(move || shared.watch())?;
        pool.watchdog = Some(watchdog);
        Ok(pool)
    }

    /// Ends the threads, and waits for them for up to `grace`. `false` if shipped code is still running on some: they end
    /// with the process.
    pub fn stop(&mut self, grace: Duration) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.engine.roster.stop();
        self.shared.engine.fabric().wake();
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.thread().unpark();
            // A watchdog that panicked has already said so.
            let _ = watchdog.join();
        }
        let end = Instant::now() + grace;
        while self.shared.engine.roster.threads() > 0 {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl<F: Fabric, L: Loader> Drop for Pool<F, L> {
    fn drop(&mut self) {
        if self.watchdog.is_some() {
            self.stop(Duration::ZERO);
        }
    }
}

/// Starts one more thread, if the pool may have one more.
fn spawn<F: Fabric + 'static, L: Loader>(shared: &Arc<Shared<F, L>>) -> std::io::Result<()> {
    if !shared.engine.roster.enlist(shared.settings.most_threads) {
        return Ok(());
    }
    let inside = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name("bitcode-worker".into())
        .stack_size(shared.settings.stack_bytes)
        .spawn(move || inside.work());
    if spawned.is_err() {
        shared.engine.roster.discharge();
    }
    spawned.map(|_| ())
}

impl<F: Fabric + 'static, L: Loader> Shared<F, L> {
    /// The life of a thread.
    fn work(&self) {
        if let Err(reason) = self.engine.loader().enter_thread() {
            error!(reason, "a thread cannot run shipped code");
            self.engine.roster.discharge();
            return;
        }
        let mut output = OutputOf::<L>::default();
        loop {
            let next = self
                .engine
                .roster
                .next(THREAD_PATIENCE, self.settings.threads);
            match next {
                Next::Lead(term) => self.lead(term),
                Next::Job(job) => self.engine.execute(job, &mut output),
                Next::Leave => return,
            }
        }
    }

    /// Leads until somebody else does.
    fn lead(&self, term: u64) {
        let beat = Arc::new(Beat::default());
        *self.lead.lock() = (term, Arc::clone(&beat));
        let mut leader = Leader::new(&self.engine, &beat);
        let mut patience = Patience::new(self.settings.spin);
        while self.engine.roster.leads(term) {
            if self.engine.turn(&mut leader) > 0 {
                patience.rewarded();
                continue;
            }
            leader.look_ahead();
            if patience.runs_out() {
                self.sleep();
            }
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        self.engine.fabric().wait(LONG_SLEEP);
        self.asleep.store(false, Ordering::SeqCst);
        if self.unwatched.load(Ordering::SeqCst)
            && let Some(watchdog) = self.watchdog.get()
        {
            watchdog.unpark();
        }
    }

    /// The life of the watchdog.
    fn watch(self: &Arc<Self>) {
        let _ = self.watchdog.set(std::thread::current());
        let mut tick = TICK;
        let mut seen = (0, 0);
        while !self.stop.load(Ordering::Acquire) {
            if self.asleep.load(Ordering::SeqCst) && self.engine.roster.is_quiet() {
                self.unwatched.store(true, Ordering::SeqCst);
                if self.asleep.load(Ordering::SeqCst) {
                    std::thread::park_timeout(LONG_SLEEP);
                }
                self.unwatched.store(false, Ordering::SeqCst);
            } else {
                std::thread::park_timeout(tick);
            }
            let (term, beat) = self.lead.lock().clone();
            let now = (term, beat.running());
            if now.1 != 0 && now == seen && self.engine.roster.depose(term) {
                beat.lose();
                if let Some(behind) = beat.take_behind() {
                    behind.disperse(&self.engine.roster);
                }
                let count = self.engine.counters.takeovers.add(1);
                debug!(count, "the leader is held up: another thread leads");
            }
            tick = if now.1 != 0 {
                TICK
            } else {
                (tick * 2).min(LONG_TICK)
            };
            seen = now;
            if self.engine.roster.is_short_of_threads(JOB_PATIENCE)
                && let Err(error) = spawn(self)
            {
                error!(%error, "no thread for a call that waits");
            }
        }
    }
}
