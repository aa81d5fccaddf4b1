//! The machine that the node compiles for.

use crate::error::JitError;
use crate::llvm::machine::{host_cpu, host_features, host_triple};
use crate::llvm::{Machine, initialise};

/// What code is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Target triple.
    pub triple: String,
    /// Processor, as LLVM names it.
    pub cpu: String,
    /// Processor features, as LLVM writes them.
    pub features: String,
}

impl Target {
    /// This machine; `cpu` may name a lesser processor than the one we run on.
    pub(crate) fn host(cpu: Option<&str>) -> Result<Self, JitError> {
        initialise();
        let target = match cpu {
            None => Self {
                triple: host_triple(),
                cpu: host_cpu(),
                features: host_features(),
            },
            // A named processor has the features that its name says.
            Some(cpu) => Self {
                triple: host_triple(),
                cpu: cpu.to_owned(),
                features: String::new(),
            },
        };
        Ok(target)
    }

    /// The architecture, by its usual name.
    pub fn arch(&self) -> &str {
        arch(&self.triple)
    }

    pub(crate) fn machine(&self) -> Result<Machine, JitError> {
        Machine::new(&self.triple, &self.cpu, &self.features).map_err(JitError::Setup)
    }
}

/// The architecture that a triple names, however it spells it.
pub(crate) fn arch(triple: &str) -> &str {
    match triple.split('-').next().unwrap_or(triple) {
        "amd64" | "x64" => "x86_64",
        "arm64" => "aarch64",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_known() {
        let target = Target::host(None).unwrap();
        assert_eq!(target.arch(), std::env::consts::ARCH);
        assert!(!target.cpu.is_empty());
        assert!(target.machine().is_ok());
    }

    #[test]
    fn one_architecture_has_several_spellings() {
        for triple in [
            "aarch64-linux-gnu",
            "aarch64-unknown-linux-gnu",
            "aarch64-redhat-linux",
            "arm64",
        ] {
            assert_eq!(arch(triple), "aarch64");
        }
        assert_eq!(arch("amd64-pc-linux-gnu"), arch("x86_64-linux-gnu"));
        assert_ne!(arch("aarch64_be-linux-gnu"), "aarch64");
    }
}
