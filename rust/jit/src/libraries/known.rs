//! C libraries that Julia code calls, by the names that archives give them: what a node's loader knows them as, and what to
//! install where they are missing.

/// A library that nodes allow unless told otherwise.
pub(super) struct Known {
    /// What archives call it.
    pub(super) name: &'static str,
    /// What to ask the loader for, the best first; a suffix that the library's symbols lack there, if any.
    pub(super) sonames: &'static [(&'static str, &'static str)],
    /// Debian's package.
    pub(super) package: &'static str,
    /// Libraries that have to be opened before it.
    pub(super) first: &'static [&'static str],
}

/// The default list.
pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "libgmp",
        sonames: &[("libgmp.so.10", "")],
        package: "libgmp10",
        first: &[],
    },
    Known {
        name: "libmpfr",
        sonames: &[("libmpfr.so.6", "")],
        package: "libmpfr6",
        // Its numbers are made of GMP's.
        first: &["libgmp"],
    },
    Known {
        name: "libpcre2-8",
        sonames: &[("libpcre2-8.so.0", "")],
        package: "libpcre2-8-0",
        first: &[],
    },
    Known {
        name: "libdSFMT",
        sonames: &[("libdSFMT-19937.so.1", ""), ("libdSFMT.so", "")],
        package: "libdsfmt-19937-1",
        first: &[],
    },
    Known {
        name: "libutf8proc",
        sonames: &[("libutf8proc.so.2", ""), ("libutf8proc.so.3", "")],
        package: "libutf8proc2",
        first: &[],
    },
    // Integers of 64 bits. Julia's own builds mark every symbol with it; Debian's does not.
    Known {
        name: "libopenblas64_",
        sonames: &[("libopenblas64_.so.0", ""), ("libopenblas64.so.0", "64_")],
        package: "libopenblas64-0-pthread",
        first: &[],
    },
    // Integers of 32 bits.
    Known {
        name: "libopenblas",
        sonames: &[("libopenblas.so.0", "")],
        package: "libopenblas0-pthread",
        first: &[],
    },
];

/// The library that archives call `name`.
pub(super) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}
