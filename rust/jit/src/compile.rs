//! From an archive to code that runs.

use crate::choose::{choose, choose_bitcode, is_native};
use crate::compiled::{Compiled, Timings};
use crate::disassemble::disassemble;
use crate::error::JitError;
use crate::fatal::guarded;
use crate::libraries::{Allowed as AllowedLibraries, Libraries};
use crate::llvm::{self, Buffer};
use crate::object::{Wanted, check};
use crate::orc::{Linked, Orc};
use crate::sites::Sites;
use crate::store::{Store, StoreConfig};
use crate::target::Target;
use crate::{objects, translate};
use bitcode_runtime::{Constants, Limits};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::CodeId;
use bitcode_wire::link::{self, FUNCTION_SYMBOL};
use bitcode_wire::manifest::{Manifest, object_symbol};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// How a node compiles, and what its calls may use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JitConfig {
    /// Compile for this processor (LLVM's name) in place of the one we run on.
    pub cpu: Option<String>,
    /// What a call may use.
    pub limits: Limits,
    /// The C libraries that shipped code may call.
    pub libraries: AllowedLibraries,
    /// Where compiled objects are kept for later processes; nowhere unless it is said.
    pub store: Option<StoreConfig>,
    /// Run native images only, and compile nothing.
    pub objects_only: bool,
}

/// The compiler of a node. Compiles on the thread that asks; any number at the same time.
pub struct Jit {
    orc: Arc<Orc>,
    target: Target,
    limits: Limits,
    libraries: Libraries,
    store: Option<Store>,
    objects_only: bool,
    /// What native images may need: asked when the first one comes.
    features: OnceLock<Vec<&'static str>>,
}

impl Jit {
    /// Sets the compiler up for this machine.
    ///
    /// # Errors
    /// [`JitError::Setup`].
    pub fn new(config: JitConfig) -> Result<Self, JitError> {
        let target = Target::host(config.cpu.as_deref())?;
        let orc = guarded(|| {
            Orc::new(
                target.machine().map_err(|error| error.to_string())?,
                bitcode_runtime::lookup,
            )
        });
        let orc = orc.and_then(|orc| orc).map_err(JitError::Setup)?;
        let store = config.store.map(|config| {
            let abi = bitcode_runtime::layout::ABI;
            Store::open(config, &target, abi, &llvm::version())
                .map_err(|error| JitError::Setup(error.to_string()))
        });
        Ok(Self {
            store: store.transpose()?,
            orc,
            target,
            limits: config.limits,
            libraries: Libraries::new(config.libraries),
            objects_only: config.objects_only,
            features: OnceLock::new(),
        })
    }

    /// The machine that it compiles for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it compiles bitcode, or runs native images only.
    pub fn compiles(&self) -> bool {
        !self.objects_only
    }

    /// Makes an archive run. The caller has checked that `id` is the archive's hash.
    ///
    /// # Errors
    /// [`JitError`]: for most reasons, the archive's.
    pub fn compile(&self, id: &CodeId, archive: &Archive<'_>) -> Result<Compiled, JitError> {
        self.compile_linked(id, archive, &[])
    }

    /// The same for an archive that links to others: `links` are those that [`Manifest::links`] names, in its order. It keeps them alive.
    ///
    /// # Errors
    /// [`JitError`], [`JitError::Unresolved`] if there are fewer, or one of them exports nothing.
    pub fn compile_linked(
        &self,
        id: &CodeId,
        archive: &Archive<'_>,
        links: &[&Compiled],
    ) -> Result<Compiled, JitError> {
        let manifest = &archive.manifest;
        check_abi(manifest)?;
        let image = self.choose(archive)?;
        let started = Instant::now();
        let constants = objects::build(&manifest.objects)?;
        let mut timings = Timings {
            link: micros(started),
            ..Timings::default()
        };
        let started = Instant::now();
        if image.kind == ImageKind::Object {
            check::object(image.code, self.target.arch(), manifest.entry)?;
            timings.parse = micros(started);
            let object = Buffer::copy(image.code);
            return self.link(object, manifest, links, constants, timings);
        }
        let special = !archive.fixed.is_empty();
        let kept = self.store.as_ref().map(|store| (store, store.key(id)));
        if let Some(object) = kept.as_ref().and_then(|(store, key)| store.find(key)) {
            timings.parse = micros(started);
            let object = Buffer::copy(&object);
            let compiled = self.link(object, manifest, links, constants, timings)?;
            return Ok(compiled.kept().specialised(special));
        }
        // Everything of LLVM's happens in here: what it calls fatal ends this compilation only.
        let object = guarded(|| translate::object(&self.target, image, archive, &mut timings))
            .map_err(JitError::Llvm)??;
        if let Some((store, key)) = kept {
            store.keep(&key, object.bytes());
        }
        let compiled = self.link(object, manifest, links, constants, timings)?;
        Ok(compiled.specialised(special))
    }

    fn choose<'i>(&self, archive: &'i Archive<'i>) -> Result<&'i Image<'i>, JitError> {
        let images = &archive.images;
        // Only a compiler folds constants. (Native code takes them from where they are called from.)
        if !archive.fixed.is_empty()
            && self.compiles()
            && let Ok(bitcode) = choose_bitcode(images, &self.target)
        {
            return Ok(bitcode);
        }
        let known = self.features.get();
        let has = match known {
            Some(features) => features,
            // Asking LLVM takes milliseconds, and most archives hold nothing native.
            None if !images.iter().any(|image| is_native(image, &self.target)) => &Vec::new(),
            None => {
                let features = self.target.needs()?;
                self.features.get_or_init(|| features)
            }
        };
        choose(images, &self.target, has, self.objects_only)
    }

    /// Makes an object run, with the archive's constants and what it takes from C libraries and from other code.
    fn link(
        &self,
        object: Buffer,
        manifest: &Manifest<'_>,
        links: &[&Compiled],
        constants: Constants,
        mut timings: Timings,
    ) -> Result<Compiled, JitError> {
        let started = Instant::now();
        let wanted = Wanted::of(object.bytes(), manifest)?;
        let absolute: Vec<_> = wanted
            .objects
            .iter()
            .filter_map(|index| Some((object_symbol(*index), constants.address(*index)? as usize)))
            .collect();
        let foreign = self.foreign(manifest, links, &wanted.foreign)?;
        let absolute = [absolute, foreign].concat();
        let bytes = object.len();
        let sites = Sites::of(object.bytes(), manifest.entry);
        let exported = wanted.exports.then_some(FUNCTION_SYMBOL);
        let linked = guarded(|| self.orc.link(object, &absolute, manifest.entry, exported));
        let linked: Linked = linked.and_then(|linked| linked).map_err(JitError::Llvm)?;
        timings.link += micros(started);
        tracing::debug!(
            name = manifest.name,
            bytes,
            constants = constants.bytes(),
            ?timings,
            "linked"
        );
        Ok(Compiled::new(
            linked,
            constants,
            sites,
            links,
            bytes,
            timings,
            self.limits,
        ))
    }

    /// The optimised code of an archive in LLVM's text form: for people.
    ///
    /// # Errors
    /// As for [`Jit::compile`].
    pub fn explain(&self, archive: &Archive<'_>) -> Result<String, JitError> {
        check_abi(&archive.manifest)?;
        let image = choose_bitcode(&archive.images, &self.target)?;
        guarded(|| translate::text(&self.target, image, archive)).map_err(JitError::Llvm)?
    }

    /// The machine code that an archive becomes, as text: for people.
    ///
    /// # Errors
    /// As for [`Jit::compile`].
    pub fn native(&self, id: &CodeId, archive: &Archive<'_>) -> Result<String, JitError> {
        check_abi(&archive.manifest)?;
        let image = self.choose(archive)?;
        if image.kind == ImageKind::Object {
            return guarded(|| disassemble(image.code, &self.target)).map_err(JitError::Llvm)?;
        }
        let kept = self.store.as_ref();
        if let Some(object) = kept.and_then(|store| store.find(&store.key(id))) {
            return disassemble(&object, &self.target);
        }
        let timings = &mut Timings::default();
        let object = guarded(|| translate::object(&self.target, image, archive, timings))
            .map_err(JitError::Llvm)??;
        guarded(|| disassemble(object.bytes(), &self.target)).map_err(JitError::Llvm)?
    }

    /// Addresses of what the image takes from C libraries and from code that it links to. Opens libraries that are not open yet.
    fn foreign(
        &self,
        manifest: &Manifest<'_>,
        links: &[&Compiled],
        wanted: &[String],
    ) -> Result<Vec<(String, usize)>, JitError> {
        let mut links = links.iter();
        let mut found = Vec::new();
        let mut left: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        for library in &manifest.dependencies {
            let mut symbols = library.symbols.clone();
            symbols.retain(|symbol| left.remove(symbol));
            if let Some(id) = link::linked(library.soname) {
                let function = links.next().and_then(|code| code.exported());
                found.extend(linked_symbol(&id, function, &symbols)?);
                continue;
            }
            let resolved = self.libraries.resolve(library.soname, &symbols)?;
            found.extend(
                resolved
                    .into_iter()
                    .map(|(symbol, address)| (symbol.to_owned(), address)),
            );
        }
        Ok(found)
    }
}

/// What code takes from other code: its one function, or nothing.
fn linked_symbol(
    id: &CodeId,
    function: Option<usize>,
    symbols: &[&str],
) -> Result<Option<(String, usize)>, JitError> {
    let name = link::symbol(id);
    match (symbols, function) {
        ([], _) => Ok(None),
        ([symbol], Some(address)) if *symbol == name => Ok(Some((name, address))),
        _ => Err(JitError::Unresolved {
            symbols: symbols.iter().map(|symbol| (*symbol).into()).collect(),
            reason: "the code that it links to does not export",
        }),
    }
}

/// The archive's ABI must be one of this build's.
pub(crate) fn check_abi(manifest: &Manifest<'_>) -> Result<(), JitError> {
    let offered = crate::abis();
    if offered.contains(&manifest.abi) {
        return Ok(());
    }
    Err(JitError::Abi {
        found: manifest.abi.to_owned(),
        offered,
    })
}

pub(crate) fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
