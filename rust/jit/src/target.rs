//! The machine that the node compiles for.

use crate::error::JitError;
use crate::fatal::guarded;
use crate::llvm::machine::{host_cpu, host_features, host_triple};
use crate::llvm::{self, Machine, initialise};
use bitcode_wire::archive::Image;

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
        let Some(cpu) = cpu else {
            return Ok(Self {
                triple: host_triple(),
                cpu: host_cpu(),
                features: host_features(),
            });
        };
        // A named processor has the features that its name says.
        let named = Self {
            triple: host_triple(),
            cpu: cpu.to_owned(),
            features: String::new(),
        };
        if named.is_known()? {
            return Ok(named);
        }
        Err(JitError::Target {
            spec: cpu.to_owned(),
            problem: format!("LLVM knows no such {} processor", named.arch()),
        })
    }

    /// What an image says that it is for.
    pub(crate) fn of(image: &Image<'_>) -> Self {
        Self {
            triple: image.triple.to_owned(),
            cpu: image.cpu.to_owned(),
            features: image.features.to_owned(),
        }
    }

    /// Whether an image is for this target's architecture, however its triple spells it.
    pub fn is_arch_of(&self, image: &Image<'_>) -> bool {
        arch(image.triple) == self.arch()
    }

    /// The architecture, by its usual name.
    pub fn arch(&self) -> &str {
        arch(&self.triple)
    }

    /// The target that `spec` names: `ARCHITECTURE[:CPU[:FEATURES]]`, such as `x86_64:x86-64-v3` or `aarch64:neoverse-n1:+sve`, or
    /// `native` for this machine. An architecture may be a whole triple; without a CPU it is any of that architecture.
    /// The features of the outcome are all that code for it needs.
    ///
    /// ```
    /// let target = bitcode_jit::Target::parse("arm64-linux-gnu:neoverse-n1")?;
    /// assert_eq!(target.triple, "aarch64-unknown-linux-gnu");
    /// assert!(target.features.contains("+lse"));
    /// # Ok::<(), bitcode_jit::JitError>(())
    /// ```
    ///
    /// # Errors
    /// [`JitError::Target`] if there is no such target, or none that a node can have.
    pub fn parse(spec: &str) -> Result<Self, JitError> {
        if spec == "native" {
            let mut host = Self::host(None)?;
            host.features = host.spelled_features()?;
            return Ok(host);
        }
        let wrong = |problem: String| JitError::Target {
            spec: spec.to_owned(),
            problem,
        };
        let mut parts = spec.splitn(3, ':');
        let name = arch(parts.next().unwrap_or_default());
        let cpu = parts.next().filter(|cpu| !cpu.is_empty());
        let features = parts.next().unwrap_or_default();
        let baseline = match name {
            "x86_64" => "x86-64",
            "aarch64" => "generic",
            _ => return Err(wrong("nodes run on x86_64 and aarch64".into())),
        };
        if let Some(bad) = features
            .split(',')
            .filter(|feature| !feature.is_empty())
            .find(|feature| !feature.starts_with(['+', '-']))
        {
            return Err(wrong(format!("{bad:?} has neither a plus nor a minus")));
        }
        let mut target = Self {
            triple: format!("{name}-unknown-linux-gnu"),
            cpu: cpu.unwrap_or(baseline).to_owned(),
            features: features.to_owned(),
        };
        if !target.is_known()? {
            return Err(wrong(format!("LLVM knows no processor {:?}", target.cpu)));
        }
        target.features = target.spelled_features()?;
        Ok(target)
    }

    /// Does LLVM know the processor?
    fn is_known(&self) -> Result<bool, JitError> {
        // Of x86-64 LLVM asks that the processor can do 64 bits before it asks whether there is such a one, and ends the process.
        let (features, always) = match self.arch() {
            "x86_64" => ("+64bit", "x87"),
            _ => ("", "neon"),
        };
        let plain = Self {
            features: features.into(),
            ..self.clone()
        };
        Ok(!plain.having(&[always])?.is_empty())
    }

    /// What code for this target needs, beyond what every processor of the architecture has.
    pub(crate) fn needs(&self) -> Result<Vec<&'static str>, JitError> {
        self.having(self.unasked())
    }

    /// The features that matter to an image: see [`FEATURES`].
    fn unasked(&self) -> &'static [&'static str] {
        let all = FEATURES.iter().find(|(name, _)| *name == self.arch());
        all.map_or(&[], |(_, all)| all)
    }

    fn spelled_features(&self) -> Result<String, JitError> {
        let needs = self.needs()?.into_iter().map(|name| format!("+{name}"));
        let known = self.unasked();
        let without = self
            .features
            .split(',')
            .filter(|part| part.strip_prefix('-').is_some_and(|it| known.contains(&it)));
        let all: Vec<_> = needs.chain(without.map(String::from)).collect();
        Ok(all.join(","))
    }

    /// Those of `features` that the target has. LLVM's C API does not say; but it inlines a function that asks for a
    /// feature only into one that has it.
    fn having<'f>(&self, features: &[&'f str]) -> Result<Vec<&'f str>, JitError> {
        let answer = guarded(|| {
            let machine = self.machine()?;
            llvm::inlinable(&machine, &self.cpu, &self.features, features).map_err(JitError::Setup)
        });
        answer.map_err(JitError::Setup)?
    }

    pub(crate) fn machine(&self) -> Result<Machine, JitError> {
        Machine::new(&self.triple, &self.cpu, &self.features).map_err(JitError::Setup)
    }
}

/// Processors' features that a code generator makes use of unasked. Others of the hundreds that LLVM knows matter to systems, or to
/// who names an instruction; an image does not need them.
const FEATURES: [(&str, &[&str]); 2] = [
    (
        "x86_64",
        &[
            "sse3",
            "ssse3",
            "sse4.1",
            "sse4.2",
            "sse4a",
            "popcnt",
            "crc32",
            "avx",
            "avx2",
            "fma",
            "fma4",
            "xop",
            "f16c",
            "bmi",
            "bmi2",
            "tbm",
            "lzcnt",
            "movbe",
            "adx",
            "aes",
            "pclmul",
            "vaes",
            "vpclmulqdq",
            "gfni",
            "sha",
            "avxvnni",
            "avxifma",
            "avxneconvert",
            "avxvnniint8",
            "avx512f",
            "avx512bw",
            "avx512cd",
            "avx512dq",
            "avx512vl",
            "avx512ifma",
            "avx512vbmi",
            "avx512vbmi2",
            "avx512vnni",
            "avx512bitalg",
            "avx512vpopcntdq",
            "avx512bf16",
            "avx512fp16",
        ],
    ),
    (
        "aarch64",
        &[
            "crc",
            "lse",
            "lse2",
            "rdm",
            "dotprod",
            "fullfp16",
            "fp16fml",
            "aes",
            "sha2",
            "sha3",
            "rcpc",
            "rcpc-immo",
            "jsconv",
            "complxnum",
            "flagm",
            "altnzcv",
            "fptoint",
            "bf16",
            "i8mm",
            "f32mm",
            "f64mm",
            "sve",
            "sve2",
            "mops",
            "cssc",
        ],
    ),
];
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

    /// LLVM finds out when it compiles, and then it ends the process.
    #[test]
    fn a_processor_that_is_none_is_refused_at_once() {
        let error = Target::host(Some("nonsense")).unwrap_err();
        assert!(error.to_string().contains("no such"), "{error}");
        let least = Target::parse(std::env::consts::ARCH).unwrap().cpu;
        assert_eq!(Target::host(Some(&least)).unwrap().cpu, least);
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

    #[test]
    fn a_processor_has_the_features_that_its_name_says() {
        let needs = |spec: &str| Target::parse(spec).unwrap().needs().unwrap();
        assert_eq!(needs("x86_64"), [] as [&str; 0]);
        assert_eq!(needs("x86_64:x86-64-v2").last(), Some(&"crc32"));
        let v3 = needs("amd64-linux-gnu:x86-64-v3");
        assert!(v3.contains(&"avx2") && v3.contains(&"fma") && !v3.contains(&"avx512f"));
        assert!(needs("x86_64:x86-64-v4").contains(&"avx512vl"));
        assert!(needs("x86_64:x86-64:+avx").contains(&"avx"));
        assert!(!needs("x86_64:x86-64-v3:-avx2").contains(&"avx2"));
        assert_eq!(needs("aarch64"), [] as [&str; 0]);
        let n1 = needs("aarch64:neoverse-n1");
        assert!(n1.contains(&"lse") && n1.contains(&"dotprod") && !n1.contains(&"sve"));
        assert!(needs("aarch64:a64fx").contains(&"sve"));
        // As spelled they are the same.
        let spelled = Target::parse("aarch64:neoverse-n1").unwrap().features;
        assert_eq!(spelled.split(',').count(), n1.len());
        // What a node says of itself names hundreds, most of which no code generator uses.
        let said = Target::parse("x86_64:x86-64:+avx,+cx16,-amx-tile,-fma").unwrap();
        assert!(said.features.ends_with("+avx,-fma"), "{}", said.features);
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_is_wrong() {
        for (spec, problem) in [
            ("riscv64", "nodes run on"),
            ("", "nodes run on"),
            ("x86_64:neoverse-n1", "LLVM knows no processor"),
            ("aarch64:znver3", "LLVM knows no processor"),
            ("x86_64:x86-64:avx", "neither a plus nor a minus"),
        ] {
            let error = Target::parse(spec).unwrap_err();
            assert!(matches!(error, JitError::Target { .. }), "{error}");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
