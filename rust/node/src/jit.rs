//! The loader that real nodes have: the JIT.

use bitcode_jit::{
    Compiled, Host, Jit, JitConfig, JitError, Outcome, Output, Place, attach_thread,
};
use bitcode_wire::archive::Archive;
use bitcode_wire::code::CodeId;
use bitcode_wire::frame::{StageTimings, View};

use crate::loader::{Listener, LoadError, Loader, Program, Ran};
use crate::run::About;

/// Makes programs with LLVM.
pub struct JitLoader(Jit);

impl JitLoader {
    /// Sets the compiler up.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(config: JitConfig) -> Result<Self, String> {
        Jit::new(config)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// What origins are told of it.
    pub fn about(&self) -> About {
        let target = self.0.target();
        About {
            cpu: target.cpu.clone(),
            features: target.features.clone(),
            // One that does not compile has no compiler, as far as origins are concerned.
            compiler: if self.0.compiles() {
                bitcode_jit::llvm_version()
            } else {
                String::new()
            },
            abis: bitcode_jit::abis()
                .iter()
                .map(|abi| (*abi).into())
                .collect(),
        }
    }
}

impl Loader for JitLoader {
    type Program = Compiled;

    fn load(
        &self,
        id: &CodeId,
        archive: &Archive<'_>,
        links: &[&Compiled],
    ) -> Result<Compiled, LoadError> {
        self.0.compile_linked(id, archive, links).map_err(refusal)
    }

    fn show(&self, id: &CodeId, archive: &Archive<'_>, view: View) -> Result<String, LoadError> {
        match view {
            View::Llvm => self.0.explain(archive),
            View::Native => self.0.native(id, archive),
        }
        .map_err(refusal)
    }

    fn enter_thread(&self) -> Result<(), String> {
        attach_thread();
        Ok(())
    }
}

fn refusal(error: JitError) -> LoadError {
    LoadError {
        code: error.code(),
        message: error.to_string(),
    }
}

impl Program for Compiled {
    type Output = Output;

    fn run(
        &self,
        place: Place,
        host: &dyn Host,
        payload: &mut [u8],
        listener: &Listener<'_>,
        output: &mut Output,
    ) -> Ran {
        match self.call_at(place, host, payload, listener, output) {
            Outcome::Value => Ran::Value,
            Outcome::Thrown | Outcome::ThrownElsewhere => Ran::Thrown,
            Outcome::Fault { signal } => Ran::Fault { signal },
            Outcome::OutOfMemory => Ran::OutOfMemory,
            Outcome::BadPayload(what) => Ran::BadPayload(what),
            Outcome::Forward(onward) => Ran::Forward(onward),
            Outcome::Stopped => Ran::Stopped,
        }
    }

    fn special_entry(&self) -> Option<usize> {
        Self::special_entry(self)
    }

    fn bytes(&self) -> usize {
        self.code_bytes()
    }

    fn was_kept(&self) -> bool {
        Compiled::was_kept(self)
    }

    fn stages(&self) -> StageTimings {
        let timings = self.timings();
        StageTimings {
            parse: timings.parse,
            link: timings.link,
            optimise: timings.optimise,
            emit: timings.emit,
            ..StageTimings::default()
        }
    }
}
