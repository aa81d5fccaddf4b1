//! C libraries that archives depend on: which of them a node may open, opening them, and finding what archives take from
//! them.
//!
//! A library is opened when the first archive that needs it is compiled, before any of its code runs, and stays open. Only
//! names that the node's configuration allows are opened, and only symbols that the library itself defines are given out:
//! never those of other libraries that it happens to depend on.

mod known;

use bitcode_runtime::library;
use known::{KNOWN, Known, known};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// The libraries that a node may open, by the names that archives give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(Vec<Library>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Library {
    name: String,
    /// What to give the loader, where that is not the name's own business.
    path: Option<String>,
}

impl Default for Allowed {
    /// The libraries that Julia's own code calls.
    fn default() -> Self {
        Self(
            KNOWN
                .iter()
                .map(|known| Library {
                    name: known.name.into(),
                    path: None,
                })
                .collect(),
        )
    }
}

impl Allowed {
    /// No library at all.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Allows one more: a name of the default list, a soname such as `libz.so.1`, or a path to a file, which archives call
    /// by the file's name.
    pub fn allow(&mut self, name: &str) {
        let file = Path::new(name).file_name().and_then(|file| file.to_str());
        let file = file.unwrap_or(name).to_owned();
        self.deny(&file);
        self.0.push(Library {
            name: file,
            path: name.contains('/').then(|| name.to_owned()),
        });
    }

    /// Allows one less.
    pub fn deny(&mut self, name: &str) {
        self.0.retain(|library| library.name != name);
    }

    /// The names, in the order in which they were allowed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|library| library.name.as_str())
    }

    fn get(&self, name: &str) -> Option<&Library> {
        self.0.iter().find(|library| library.name == name)
    }
}

/// Why an archive cannot have a library that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryError {
    /// The node's configuration does not allow it.
    NotAllowed {
        /// What the archive calls it.
        name: String,
    },
    /// The machine does not have it.
    Missing {
        /// What the archive calls it.
        name: String,
        /// What the loader was asked for.
        sonames: Vec<String>,
        /// Debian's package, if we know.
        package: Option<&'static str>,
        /// What the loader said last.
        reason: String,
    },
    /// It lacks symbols that the archive takes from it.
    Symbols {
        /// What the archive calls it.
        name: String,
        /// What the loader calls it.
        soname: String,
        /// What it lacks.
        symbols: Vec<String>,
    },
    /// It cannot be what its name says.
    Unsuitable {
        /// What the loader calls it.
        soname: String,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed { name } => write!(
                f,
                "the code needs the C library {name}, which this node's configuration does not allow \
                 (bitcode-node --allow-library {name} does)"
            ),
            Self::Missing {
                name,
                sonames,
                package,
                reason,
            } => {
                write!(
                    f,
                    "the code needs the C library {name}, which this node's machine does not have ({}): ",
                    sonames.join(" or ")
                )?;
                match package {
                    Some(package) => {
                        write!(f, "install it there (Debian: apt-get install {package})")?
                    }
                    None => write!(f, "install it there")?,
                }
                write!(f, "; the loader says: {reason}")
            }
            Self::Symbols {
                name,
                soname,
                symbols,
            } => write!(
                f,
                "the code takes {} from the C library {name}, which this node's {soname} does not have: \
                 it is another version of the library",
                crate::error::names(symbols)
            ),
            Self::Unsuitable { soname, reason } => write!(
                f,
                "this node's {soname} is not the C library that its name says: {reason}"
            ),
        }
    }
}

impl std::error::Error for LibraryError {}

/// The libraries of a node.
pub(crate) struct Libraries {
    allowed: Allowed,
    open: Mutex<HashMap<String, Opened>>,
}

/// An open library. It is never closed: code of any archive may be running in it.
#[derive(Clone)]
struct Opened {
    handle: *mut c_void,
    soname: String,
    /// Where it was loaded.
    base: usize,
    /// What archives append to the names of its symbols.
    suffix: &'static str,
}

// SAFETY: a handle of the loader, which locks for itself.
unsafe impl Send for Opened {}

impl Libraries {
    pub(crate) fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The addresses of `symbols` in the library that archives call `name`.
    pub(crate) fn resolve<'s>(
        &self,
        name: &str,
        symbols: &[&'s str],
    ) -> Result<Vec<(&'s str, usize)>, LibraryError> {
        let opened = self.open(name)?;
        let mut found = Vec::with_capacity(symbols.len());
        let mut missing = Vec::new();
        for symbol in symbols {
            let own = || opened.find(symbol.strip_suffix(opened.suffix)?);
            match library::replacement(name, symbol).or_else(own) {
                Some(address) => found.push((*symbol, address)),
                None => missing.push((*symbol).to_owned()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(LibraryError::Symbols {
            name: name.into(),
            soname: opened.soname,
            symbols: missing,
        })
    }

    fn open(&self, name: &str) -> Result<Opened, LibraryError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = open.get(name) {
            return Ok(opened.clone());
        }
        let not_allowed = || LibraryError::NotAllowed { name: name.into() };
        let library = self.allowed.get(name).ok_or_else(not_allowed)?;
        for needed in known(name).map_or(&[] as &[_], |known| known.first) {
            if !open.contains_key(*needed) {
                let library = Library {
                    name: (*needed).into(),
                    path: None,
                };
                let opened = open_now(&library)?;
                open.insert((*needed).into(), opened);
            }
        }
        let opened = open_now(library)?;
        tracing::info!(library = name, file = opened.soname, "opened a C library");
        open.insert(name.into(), opened.clone());
        Ok(opened)
    }
}

/// Asks the loader, and prepares what it gives.
fn open_now(library: &Library) -> Result<Opened, LibraryError> {
    let known = known(&library.name);
    let plain = [(library.path.as_deref().unwrap_or(&library.name), "")];
    let sonames: &[(&str, &'static str)] = match (&library.path, known) {
        (None, Some(Known { sonames, .. })) => sonames,
        _ => &plain,
    };
    let mut reason = String::new();
    for (soname, suffix) in sonames {
        match load(soname) {
            Ok((handle, base)) => {
                let opened = Opened {
                    handle,
                    soname: (*soname).into(),
                    base,
                    suffix,
                };
                let find = |symbol: &str| opened.find(symbol);
                // SAFETY: the library has the name that it is known by, and the address of each function is its own.
                let adopted = unsafe { library::adopt(&library.name, &find) };
                return match adopted {
                    Ok(()) => Ok(opened),
                    Err(unsuitable) => Err(LibraryError::Unsuitable {
                        soname: opened.soname,
                        reason: unsuitable.to_string(),
                    }),
                };
            }
            Err(said) => reason = said,
        }
    }
    Err(LibraryError::Missing {
        name: library.name.clone(),
        sonames: sonames.iter().map(|(soname, _)| (*soname).into()).collect(),
        package: known.map(|known| known.package),
        reason,
    })
}

/// Loads a library, with everything that it needs; its handle, and where it lies.
fn load(soname: &str) -> Result<(*mut c_void, usize), String> {
    let name = CString::new(soname).map_err(|_| "a NUL in its name".to_owned())?;
    // Its symbols stay its own: nothing else in the process is to be resolved by them.
    // SAFETY: a C string. The library's initialisers run: it is one that the configuration allows.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err(last_error());
    }
    let mut map: *mut LinkMap = ptr::null_mut();
    // SAFETY: a live handle; writes a local.
    let failed = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    if failed != 0 || map.is_null() {
        return Err(last_error());
    }
    // SAFETY: the loader's own record of a library that stays open.
    Ok((handle, unsafe { (*map).address }))
}

/// The beginning of the loader's `struct link_map` (link.h).
#[repr(C)]
struct LinkMap {
    address: usize,
}

fn last_error() -> String {
    // SAFETY: the text of this thread's last failure, or null.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no reason".into();
    }
    // SAFETY: a C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

impl Opened {
    /// The address of a symbol that this library itself defines.
    fn find(&self, symbol: &str) -> Option<usize> {
        let name = CString::new(symbol).ok()?;
        // SAFETY: a live handle, a C string.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if address.is_null() {
            return None;
        }
        let mut info = libc::Dl_info {
            dli_fname: ptr::null(),
            dli_fbase: ptr::null_mut(),
            dli_sname: ptr::null(),
            dli_saddr: ptr::null_mut(),
        };
        // SAFETY: writes a local.
        let found = unsafe { libc::dladdr(address, &raw mut info) } != 0;
        (found && info.dli_fbase as usize == self.base).then_some(address as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> Libraries {
        Libraries::new(Allowed::default())
    }

    #[test]
    fn known_libraries_are_allowed_and_others_are_not() {
        let mut allowed = Allowed::default();
        assert!(allowed.names().any(|name| name == "libgmp"));
        allowed.deny("libgmp");
        allowed.allow("/opt/lib/libfoo.so.1");
        assert!(allowed.names().all(|name| name != "libgmp"));
        assert_eq!(allowed.names().last(), Some("libfoo.so.1"));
        let libraries = Libraries::new(allowed);
        let error = libraries.resolve("libgmp", &["__gmpz_add"]).unwrap_err();
        assert_eq!(
            error,
            LibraryError::NotAllowed {
                name: "libgmp".into()
            }
        );
        assert!(error.to_string().contains("--allow-library libgmp"));
    }

    #[test]
    fn a_library_that_is_not_there_is_named_with_what_to_install() {
        let mut allowed = Allowed::none();
        allowed.allow("libnothing-like-it.so.7");
        let error = Libraries::new(allowed)
            .resolve("libnothing-like-it.so.7", &["f"])
            .unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LibraryError::Missing { .. }), "{text}");
        assert!(text.contains("libnothing-like-it.so.7"), "{text}");
        let error = LibraryError::Missing {
            name: "libgmp".into(),
            sonames: vec!["libgmp.so.10".into()],
            package: known("libgmp").map(|known| known.package),
            reason: "no such file".into(),
        };
        assert!(
            error.to_string().contains("apt-get install libgmp10"),
            "{error}"
        );
    }

    #[test]
    fn every_known_library_opens_here() {
        // deps/setup.sh installs what origins of Julia's usual kind, with 64-bit integers, need.
        for known in KNOWN.iter().filter(|known| known.name != "libopenblas") {
            let symbol = match known.name {
                "libgmp" => "__gmpz_add",
                "libmpfr" => "mpfr_custom_get_size",
                "libpcre2-8" => "pcre2_match_8",
                "libdSFMT" => "dsfmt_init_by_array",
                "libutf8proc" => "utf8proc_category",
                _ => "dgemm_64_",
            };
            let found = system().resolve(known.name, &[symbol]);
            assert!(found.is_ok(), "{found:?}");
        }
    }

    #[test]
    fn symbols_that_it_lacks_are_listed() {
        let error = system()
            .resolve("libgmp", &["__gmpz_add", "not_of_gmps", "nor_this"])
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`not_of_gmps`, `nor_this` from the C library libgmp"),
            "{text}"
        );
        assert!(!text.contains("`__gmpz_add`"), "{text}");
    }

    #[test]
    fn what_a_library_itself_needs_is_not_to_be_had() {
        // The loader would find all of these in libc, on which every library depends.
        for symbol in ["system", "malloc", "dlopen", ""] {
            let error = system().resolve("libgmp", &[symbol]).unwrap_err();
            assert!(matches!(error, LibraryError::Symbols { .. }), "{symbol}");
        }
        // MPFR depends on GMP.
        assert!(system().resolve("libmpfr", &["__gmpz_add"]).is_err());
    }

    #[test]
    fn the_page_lists_the_known_libraries() {
        let page = include_str!("../../../docs/ARCHIVE.md");
        for known in KNOWN {
            let start = format!("| `{}` | ", known.name);
            let line = page.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("{} is not on the page", known.name));
            for (soname, suffix) in known.sonames {
                assert!(line.contains(&format!("`{soname}`")), "{line}");
                assert!(line.contains(suffix), "{line}");
            }
        }
        let list = include_str!("../../../julia/capture/libraries.jl");
        for known in KNOWN {
            assert!(list.contains(&format!("\"{}\"", known.name)));
        }
    }
}
