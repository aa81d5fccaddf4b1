//! Jobs: calls that are not run on the spot, because their code must be compiled first or is not known to be short.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bitcode_transport::{Body, Fabric};
use bitcode_wire::archive::Archive;
use bitcode_wire::code::{CodeId, CodePrefix};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Kind, Payloads, StageTimings as Stages};
use bitcode_wire::link::Bundle;
use bitcode_wire::manifest::Manifest;
use tracing::{error, info, warn};

use super::cache::{Entry, Found};
use super::hops::{Journey, Refused};
use super::host::Surroundings;
use super::special::Made;
use super::{CallContext, Engine, Job, Many, OutputOf, Work};
use crate::loader::{LoadError, Loader, Program, Ran};

/// What an entry takes beyond its machine code.
const ENTRY_OVERHEAD: usize = 512;
/// What code imports whose archive is needed once it runs: code that may go on elsewhere, or have itself specialised.
const NEEDS_ARCHIVE: [&str; 7] = [
    "bc_ask",
    "bc_ask_graph",
    "bc_forward",
    "bc_forward_graph",
    "bc_spawn",
    "bc_spawn_graph",
    "bc_special",
];

/// What came of an archive that a call brought.
enum Compiling<P> {
    Done(Arc<Entry<P>>),
    /// The call has its answer.
    Refused,
    /// The call is to come again, with the code that its own links to.
    LacksLinks,
}

/// Why an archive did not become code.
enum Unmade {
    Refused(Refusal),
    /// It links to code that is not here.
    LacksLinks,
}

impl From<Refusal> for Unmade {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Code that came along because other code links to it.
type Brought<P> = HashMap<CodeId, Arc<Entry<P>>>;

/// Whether code needs its archive once it runs.
fn needs_archive(manifest: &Manifest<'_>) -> bool {
    let mut symbols = NEEDS_ARCHIVE.iter();
    symbols.any(|it| manifest.imports.contains(it))
}

/// What is wrong with an archive.
pub(super) struct Refusal {
    pub(super) error: LoadError,
    /// The archive is what the code id says, so that the same would happen to anyone who brought it.
    genuine: bool,
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Carries out a job on the calling thread.
    pub(crate) fn execute(&self, job: Job<L::Program>, output: &mut OutputOf<L>) {
        self.running.fetch_add(1, Ordering::SeqCst);
        // What was spawned has the id of the call that did it, which may still be under way.
        let unheard = job.context.is_unheard();
        let job = AssertUnwindSafe(job);
        // A panic is a fault of ours; whoever waits gets an answer all the same, and the thread goes on.
        let to = job.context.answered();
        let answered = (to.session.clone(), to.call, to.prefix);
        let done = catch_unwind(AssertUnwindSafe(|| {
            let AssertUnwindSafe(job) = job;
            self.carry_out(job, output);
        }));
        if done.is_err() {
            let (session, call, prefix) = answered;
            error!(
                session = session.id,
                call, "panic while carrying out a call"
            );
            let message = "the node panicked while it carried out the call; please report it";
            let answered = super::reply::Answered {
                session: &session,
                call,
                prefix,
                foreseen: None,
            };
            if !unheard {
                self.send_error(answered, ErrorCode::INTERNAL, message);
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn carry_out(&self, job: Job<L::Program>, output: &mut OutputOf<L>) {
        if self.is_stopping() {
            self.refuse_stopping(&job);
            return;
        }
        let Job {
            mut context,
            body,
            work,
        } = job;
        match work {
            Work::Run(entry) => self.run(context, &entry, body, output),
            Work::Show => self.show(&context, body.bytes()),
            Work::Compile => match self.compile(&mut context, body.bytes()) {
                Compiling::Done(entry) => self.run(context, &entry, body, output),
                Compiling::Refused => {}
                Compiling::LacksLinks => self.need_code(Job {
                    context,
                    body,
                    work: Work::Compile,
                }),
            },
            Work::Segment => self.serve_segment(&context, body.bytes()),
        }
    }

    fn run(
        &self,
        mut context: CallContext,
        entry: &Arc<Entry<L::Program>>,
        mut body: Body,
        output: &mut OutputOf<L>,
    ) {
        if context.session.is_closed() {
            return; // Nobody is there to hear the answer.
        }
        if context.many {
            if let Some(calls) = self.spread(context, body, entry) {
                calls.disperse(&self.roster);
            }
            return;
        }
        if context
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            let message = format!(
                "the deadline of {} passed before it could start",
                entry.name
            );
            return self.fail(&context, ErrorCode::DEADLINE, &message);
        }
        self.tell(&mut context);
        let start = Instant::now();
        let to = context.of_origin();
        let listener = |stream: u8, text: &[u8], open: bool| {
            self.send_output(to, stream, text, open);
        };
        let host = Surroundings::new(self, entry, Some(&context));
        let payload = &mut body[..context.payload_len];
        let ran = entry
            .program
            .run(context.place(), &host, payload, &listener, output);
        let (refused, special) = host.said();
        entry.pace.note(start.elapsed().as_nanos());
        self.counters.ran_queued.add(1);
        if let Some(stages) = &mut context.stages {
            stages.run = micros(start);
        }
        if context.no_reply {
            return self.end_unheard(&context, entry, ran, refused, special, output);
        }
        match (ran, refused) {
            (Ran::Forward(onward), _) => self.forward(&context, entry, onward, special, output),
            (Ran::Stopped, Some(refused)) => self.fail(&context, refused.code, &refused.message),
            _ => {
                let stages = context.stages.as_ref();
                self.send_outcome(context.answered(), entry, ran, output, stages);
            }
        }
    }

    /// Tells an origin that wants no result that the call is about to run. It is told once, by the first node.
    pub(super) fn tell(&self, context: &mut CallContext) {
        let first = context.journey.as_ref().is_none_or(Journey::is_at_home);
        if context.no_reply && first && !context.told {
            self.send_short(context.answered(), Kind::Value, &[]);
            context.told = true;
        }
    }

    /// What becomes of a call that has run, and that nobody waits for.
    pub(super) fn end_unheard(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        ran: Ran,
        refused: Option<Refused>,
        special: Option<Made>,
        output: &mut OutputOf<L>,
    ) {
        match (ran, refused) {
            (Ran::Value, _) => {}
            (Ran::Forward(onward), _) => self.forward(context, entry, onward, special, output),
            (Ran::Stopped, Some(refused)) => self.fail(context, refused.code, &refused.message),
            _ => warn!(
                session = context.session.id,
                name = entry.name,
                ?ran,
                "a call whose result nobody wants"
            ),
        }
    }

    /// The calls that came in one frame. The origin is told of all of them at once. `None` if their payloads are none: that it is told.
    pub(super) fn spread(
        &self,
        mut context: CallContext,
        body: Body,
        entry: &Arc<Entry<L::Program>>,
    ) -> Option<Many<L::Program>> {
        match Payloads::places(&body[..context.payload_len]) {
            Ok(places) => {
                self.tell(&mut context);
                context.many = false;
                Some(Many::new(context, Arc::clone(entry), body, places))
            }
            Err(error) => {
                self.fail(&context, ErrorCode::BAD_PAYLOAD, &error.to_string());
                None
            }
        }
    }

    /// Compiles the archive that the call brought, and lets go on those who waited for it.
    fn compile(&self, context: &mut CallContext, body: &[u8]) -> Compiling<L::Program> {
        let mut stages = Stages {
            queue: micros(context.arrived),
            ..Stages::default()
        };
        let trailer = &body[context.trailer_at()..];
        // The claim must be settled whatever happens, or others would wait for ever.
        let made = catch_unwind(AssertUnwindSafe(|| {
            self.make(context.prefix, trailer, &mut stages)
        }));
        let made = made.unwrap_or_else(|_| Err(Refusal::of_panic().into()));
        let waiting = self.settle(context.prefix, made.as_ref().ok());
        match made {
            Ok(entry) => {
                for job in waiting {
                    self.roster.push(Job {
                        work: Work::Run(Arc::clone(&entry)),
                        ..job
                    });
                }
                context.stages = Some(stages);
                Compiling::Done(entry)
            }
            Err(Unmade::LacksLinks) => {
                for job in waiting {
                    self.try_again(job);
                }
                Compiling::LacksLinks
            }
            Err(Unmade::Refused(refusal)) => {
                self.counters.refused.add(1);
                let LoadError { code, message } = &refusal.error;
                warn!(session = context.session.id, code = %context.prefix, error = %refusal.error, "archive refused");
                self.fail(context, *code, message);
                for job in waiting {
                    if refusal.genuine {
                        self.fail(&job.context, *code, message);
                    } else {
                        self.try_again(job);
                    }
                }
                Compiling::Refused
            }
        }
    }

    /// Keeps what came of a claim; the calls that waited for it.
    fn settle(
        &self,
        prefix: CodePrefix,
        entry: Option<&Arc<Entry<L::Program>>>,
    ) -> Vec<Job<L::Program>> {
        let settled = self.cache.settle(prefix, entry.cloned());
        for old in &settled.evicted {
            self.counters.evicted.add(1);
            info!(code = %old.id, name = old.name, "code evicted");
        }
        settled.waiting
    }

    /// A call waited for an archive that turned out to be a fake. It is as if it had arrived just now.
    fn try_again(&self, job: Job<L::Program>) {
        let brings = job.body.len() > job.context.trailer_at();
        match self.cache.find(job.context.prefix, brings, job) {
            Found::Ready(entry, job) => self.roster.push(Job {
                work: Work::Run(entry),
                ..job
            }),
            Found::Claimed(job) => self.roster.push(job),
            Found::Waiting => {}
            Found::Missing(job) => self.need_code(job),
        }
    }

    /// The code of a trailer: an archive, with those that it links to if the origin was asked for them.
    fn make(
        &self,
        prefix: CodePrefix,
        trailer: &[u8],
        stages: &mut Stages,
    ) -> Result<Arc<Entry<L::Program>>, Unmade> {
        let bundle = Bundle::decode(trailer).map_err(|error| Refusal {
            error: error.into(),
            genuine: false,
        })?;
        let mut brought = HashMap::new();
        for archive in bundle.linked {
            let id = CodeId::of(archive);
            let there = self.cache.peek(id.prefix()).filter(|entry| entry.id == id);
            let entry = match there {
                Some(entry) => entry,
                None => self.make_linked(&id, archive, &brought)?,
            };
            brought.insert(id, entry);
        }
        self.make_one(prefix, bundle.archive, &brought, stages)
    }

    /// Code that this node has the archive of, and that no call has brought.
    pub(super) fn make_alone(
        &self,
        prefix: CodePrefix,
        archive: &[u8],
    ) -> Result<Arc<Entry<L::Program>>, LoadError> {
        let id = CodeId::of(archive);
        debug_assert!(prefix.matches(&id));
        self.make_linked(&id, archive, &HashMap::new())
            .map_err(|unmade| match unmade {
                Unmade::Refused(refusal) => refusal.error,
                Unmade::LacksLinks => LoadError {
                    code: ErrorCode::UNSUPPORTED,
                    message: "it links to other code".into(),
                },
            })
    }

    /// Code that is only linked to so far. Whoever waits for it as a call's code gets it, too.
    fn make_linked(
        &self,
        id: &CodeId,
        archive: &[u8],
        brought: &Brought<L::Program>,
    ) -> Result<Arc<Entry<L::Program>>, Unmade> {
        let claimed = self.cache.claim(id.prefix());
        let made = catch_unwind(AssertUnwindSafe(|| {
            self.make_one(id.prefix(), archive, brought, &mut Stages::default())
        }));
        let made = made.unwrap_or_else(|_| Err(Refusal::of_panic().into()));
        if claimed {
            for job in self.settle(id.prefix(), made.as_ref().ok()) {
                self.try_again(job);
            }
        }
        made
    }

    /// Hash check, then decoding, then the loader: nothing is read before what vouches for it has been checked.
    fn make_one(
        &self,
        prefix: CodePrefix,
        archive: &[u8],
        brought: &Brought<L::Program>,
        stages: &mut Stages,
    ) -> Result<Arc<Entry<L::Program>>, Unmade> {
        let start = Instant::now();
        let (id, decoded) = open(prefix, archive)?;
        stages.decode = micros(start);
        let manifest = &decoded.manifest;
        let linked = self.code_linked_by(manifest, brought)?;
        let links: Vec<_> = linked.iter().map(|entry| &entry.program).collect();
        let loaded = self.loader.load(&id, &decoded, &links);
        let program = loaded.map_err(Refusal::genuine)?;
        let loaded = program.stages();
        *stages = Stages {
            queue: stages.queue,
            decode: stages.decode,
            ..loaded
        };
        let name = manifest.name.to_owned();
        let bytes = program.bytes() + ENTRY_OVERHEAD;
        let (counter, what) = if program.was_kept() {
            (&self.counters.loaded, "code loaded from disk")
        } else {
            (&self.counters.compiled, "code compiled")
        };
        counter.add(1);
        info!(code = %id, name, bytes, archive = archive.len(), us = micros(start), "{what}");
        let kept = needs_archive(manifest).then(|| Arc::new(archive.to_vec()));
        let bytes = bytes + kept.as_ref().map_or(0, |archive| archive.len());
        let entry = Entry::new(id, name, program, kept, bytes).linking(linked);
        Ok(Arc::new(entry))
    }

    /// The code that an archive links to: what came with it, or what is here.
    fn code_linked_by(
        &self,
        manifest: &Manifest<'_>,
        brought: &Brought<L::Program>,
    ) -> Result<Vec<Arc<Entry<L::Program>>>, Unmade> {
        let mut linked = Vec::new();
        for id in manifest.links() {
            let here = || self.cache.peek(id.prefix()).filter(|it| it.id == id);
            let entry = brought.get(&id).cloned().or_else(here);
            linked.push(entry.ok_or(Unmade::LacksLinks)?);
        }
        if !linked.is_empty() && needs_archive(manifest) {
            return Err(Refusal::genuine(LoadError {
                code: ErrorCode::UNSUPPORTED,
                message: "code that goes on to other nodes, or specialises itself, must hold all that it calls, and this links to other code".into(),
            })
            .into());
        }
        linked.iter().for_each(|entry| self.cache.touch(entry));
        Ok(linked)
    }

    pub(super) fn refuse_stopping(&self, job: &Job<L::Program>) {
        let message = "the node is shutting down; the call was not started";
        self.fail(&job.context, ErrorCode::SHUTTING_DOWN, message);
        if matches!(job.work, Work::Compile) {
            for job in self.cache.settle(job.context.prefix, None).waiting {
                self.fail(&job.context, ErrorCode::SHUTTING_DOWN, message);
            }
        }
    }
}

/// Checks that these bytes are the archive that a call names, and reads it.
pub(super) fn open(prefix: CodePrefix, bytes: &[u8]) -> Result<(CodeId, Archive<'_>), Refusal> {
    let id = CodeId::of(bytes);
    if !prefix.matches(&id) {
        return Err(Refusal {
            error: LoadError {
                code: ErrorCode::BAD_HASH,
                message: format!("the archive's hash is {id}, the call names {prefix}"),
            },
            genuine: false,
        });
    }
    let archive = Archive::decode(bytes).map_err(|error| Refusal::genuine(error.into()))?;
    Ok((id, archive))
}

impl Refusal {
    /// Of an archive that is what its code id says.
    fn genuine(error: LoadError) -> Self {
        Self {
            error,
            genuine: true,
        }
    }

    fn of_panic() -> Self {
        Self {
            error: LoadError {
                code: ErrorCode::INTERNAL,
                message: "the node panicked while it compiled the code; please report it".into(),
            },
            genuine: true,
        }
    }
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
