//! Jobs: calls that are not run on the spot, because their code must be compiled first or is not known to be short.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bitcode_transport::Fabric;
use bitcode_wire::archive::Archive;
use bitcode_wire::code::{CodeId, CodePrefix};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Kind, StageTimings as Stages};
use tracing::{error, info, warn};

use super::cache::{Entry, Found};
use super::hops::Journey;
use super::host::Surroundings;
use super::{CallContext, Engine, Job, OutputOf, Work};
use crate::loader::{LoadError, Loader, Program, Ran};

/// What an entry takes beyond its machine code.
const ENTRY_OVERHEAD: usize = 512;
/// What code imports that may go on elsewhere.
const FORWARDS: [&str; 2] = ["bc_forward", "bc_forward_graph"];

/// Why an archive did not become code.
pub(super) struct Refusal {
    pub(super) error: LoadError,
    /// The archive is what the code id says, so that the same would happen to anyone who brought it.
    genuine: bool,
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Carries out a job on the calling thread.
    pub(crate) fn execute(&self, job: Job<L::Program>, output: &mut OutputOf<L>) {
        self.running.fetch_add(1, Ordering::SeqCst);
        let job = AssertUnwindSafe(job);
        // A panic is a fault of ours; the origin gets an answer all the same, and the thread goes on.
        let answered = (
            Arc::clone(&job.context.session),
            job.context.call,
            job.context.prefix,
        );
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
            self.send_error(answered, ErrorCode::INTERNAL, message);
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
            mut body,
            work,
        } = job;
        match work {
            Work::Run(entry) => self.run(&mut context, &entry, &mut body, output),
            Work::Show => self.show(&context, body.bytes()),
            Work::Compile => {
                if let Some(entry) = self.compile(&mut context, body.bytes()) {
                    self.run(&mut context, &entry, &mut body, output);
                }
            }
            Work::Segment => self.serve_segment(&context, body.bytes()),
        }
    }

    fn run(
        &self,
        context: &mut CallContext,
        entry: &Arc<Entry<L::Program>>,
        body: &mut [u8],
        output: &mut OutputOf<L>,
    ) {
        if context.session.is_closed() {
            return; // Nobody is there to hear the answer.
        }
        if context
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            let message = format!(
                "the deadline of {} passed before it could start",
                entry.name
            );
            return self.send_error(context.answered(), ErrorCode::DEADLINE, &message);
        }
        // The origin is told once, by the first node.
        if context.no_reply && context.journey.as_ref().is_none_or(Journey::is_at_home) {
            self.send_short(context.answered(), Kind::Value, &[]);
        }
        let start = Instant::now();
        let to = context.answered();
        let listener = |stream: u8, text: &[u8], open: bool| {
            self.send_output(to, stream, text, open);
        };
        let host = Surroundings {
            engine: self,
            directory: context.directory(),
        };
        let payload = &mut body[..context.payload_len];
        let ran = entry
            .program
            .run(context.place(), &host, payload, &listener, output);
        entry.pace.note(start.elapsed().as_nanos());
        self.counters.ran_queued.add(1);
        if let Some(stages) = &mut context.stages {
            stages.run = micros(start);
        }
        if let Ran::Forward(onward) = ran {
            return self.forward(context, entry, onward, output);
        }
        if context.no_reply {
            if ran != Ran::Value {
                warn!(
                    session = context.session.id,
                    name = entry.name,
                    ?ran,
                    "a call whose result nobody wants"
                );
            }
            return;
        }
        let stages = context.stages.as_ref();
        self.send_outcome(context.answered(), entry, ran, output, stages);
    }

    /// Compiles the archive that the call brought, and lets go on those who waited for it. `None` if it was refused; the
    /// call has its answer then.
    fn compile(&self, context: &mut CallContext, body: &[u8]) -> Option<Arc<Entry<L::Program>>> {
        let mut stages = Stages {
            queue: micros(context.arrived),
            ..Stages::default()
        };
        let archive = &body[context.payload_len..];
        // The claim must be settled whatever happens, or others would wait for ever.
        let made = catch_unwind(AssertUnwindSafe(|| {
            self.make(context, archive, &mut stages)
        }));
        let made = made.unwrap_or_else(|_| Err(Refusal::of_panic()));
        let entry = made.as_ref().ok().cloned();
        let settled = self.cache.settle(context.prefix, entry);
        for old in &settled.evicted {
            self.counters.evicted.add(1);
            info!(code = %old.id, name = old.name, "code evicted");
        }
        drop(settled.evicted);
        match made {
            Ok(entry) => {
                for job in settled.waiting {
                    self.roster.push(Job {
                        work: Work::Run(Arc::clone(&entry)),
                        ..job
                    });
                }
                context.stages = Some(stages);
                Some(entry)
            }
            Err(refusal) => {
                self.counters.refused.add(1);
                let LoadError { code, message } = &refusal.error;
                warn!(session = context.session.id, code = %context.prefix, error = %refusal.error, "archive refused");
                self.send_error(context.answered(), *code, message);
                for job in settled.waiting {
                    if refusal.genuine {
                        self.send_error(job.context.answered(), *code, message);
                    } else {
                        self.try_again(job);
                    }
                }
                None
            }
        }
    }

    /// A call waited for an archive that turned out to be a fake. It is as if it had arrived just now.
    fn try_again(&self, job: Job<L::Program>) {
        let brings = job.body.len() > job.context.payload_len;
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

    /// Hash check, then decoding, then the loader: nothing is read before what vouches for it has been checked.
    fn make(
        &self,
        context: &CallContext,
        archive: &[u8],
        stages: &mut Stages,
    ) -> Result<Arc<Entry<L::Program>>, Refusal> {
        let start = Instant::now();
        let (id, decoded) = open(context.prefix, archive)?;
        stages.decode = micros(start);
        let program = self.loader.load(&id, &decoded).map_err(Refusal::genuine)?;
        let loaded = program.stages();
        *stages = Stages {
            queue: stages.queue,
            decode: stages.decode,
            ..loaded
        };
        let name = decoded.manifest.name.to_owned();
        let bytes = program.bytes() + ENTRY_OVERHEAD;
        let (counter, what) = if program.was_kept() {
            (&self.counters.loaded, "code loaded from disk")
        } else {
            (&self.counters.compiled, "code compiled")
        };
        counter.add(1);
        info!(code = %id, name, bytes, archive = archive.len(), us = micros(start), "{what}");
        // Code that may take itself to other nodes has its archive at hand.
        let kept = FORWARDS
            .iter()
            .any(|it| decoded.manifest.imports.contains(it));
        let kept = kept.then(|| Arc::new(archive.to_vec()));
        let bytes = bytes + kept.as_ref().map_or(0, |archive| archive.len());
        Ok(Arc::new(Entry::new(id, name, program, kept, bytes)))
    }

    pub(super) fn refuse_stopping(&self, job: &Job<L::Program>) {
        let message = "the node is shutting down; the call was not started";
        self.send_error(job.context.answered(), ErrorCode::SHUTTING_DOWN, message);
        if matches!(job.work, Work::Compile) {
            for job in self.cache.settle(job.context.prefix, None).waiting {
                self.send_error(job.context.answered(), ErrorCode::SHUTTING_DOWN, message);
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
    let archive = Archive::decode(bytes).map_err(|error| {
        Refusal::genuine(LoadError {
            code: error.code(),
            message: error.to_string(),
        })
    })?;
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
