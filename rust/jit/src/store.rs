//! Compiled objects on disk: a node that starts again runs what it knew without compiling it.
//!
//! One file for each object, named by a key: a hash over all that decides what the compiler makes of an archive, from the
//! archive itself to this very program. So nothing is ever out of date, only unused, and what has not been used for longest
//! goes when there is too much. A file is written beside its place and moved there, so that it is whole or not there, and it
//! begins with the hash of what it holds. Nodes may share a directory: they meet in nothing but these files.
//!
//! What lies here is native code that is run unseen, so the directory must be its user's alone.

use crate::target::Target;
use bitcode_wire::code::CodeId;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The first bytes of a file, with the version of its form.
const MAGIC: &[u8; 8] = b"BCOBJ\0\0\x01";
/// Magic, key, and hash of the object.
const HEADER: usize = MAGIC.len() + 2 * HASH;
const HASH: usize = 32;
/// How the names of files end; those of files that are still being written.
const SUFFIX: &str = "object";
const NEW_SUFFIX: &str = "new";
/// After so many new files the directory is looked through, for those that other nodes have added.
const LOOK_EVERY: u64 = 64;
/// A file that has been new for so long was left behind by a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where compiled objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory; made if it is not there.
    pub directory: PathBuf,
    /// Bytes of files to keep. Nodes that share a directory may each exceed it by 64 objects for a while.
    pub bytes: u64,
}

/// Why a directory cannot hold a store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{path}, where compiled objects are to be kept: {error}")]
    System { path: PathBuf, error: io::Error },
    #[error(
        "{path}, where compiled objects are to be kept, can be written by others than this process's user (owner {owner}, mode {mode:04o}), who could run code here: \
         use a directory of its own, with mode 700"
    )]
    Exposed {
        path: PathBuf,
        owner: u32,
        mode: u32,
    },
}

/// The store. Its own troubles are logged and otherwise a miss: a node can always compile.
pub(crate) struct Store {
    directory: PathBuf,
    limit: u64,
    /// A hash of all that is the same for every object of this process.
    maker: blake3::Hasher,
    /// Bytes of files, as far as is known.
    bytes: AtomicU64,
    /// Files written by this process.
    written: AtomicU64,
    /// Tells the files that this process is writing from those of others.
    nonce: u64,
    /// Held while the directory is looked through.
    looking: Mutex<()>,
}

/// What an object is kept under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; HASH]);

impl Store {
    /// Opens the directory, or makes it; `abi` and `compiler` are the versions of the runtime and of LLVM.
    pub(crate) fn open(
        config: StoreConfig,
        target: &Target,
        abi: &str,
        compiler: &str,
    ) -> Result<Self, StoreError> {
        let StoreConfig { directory, bytes } = config;
        make_private(&directory)?;
        let program = this_program()?;
        let mut maker = blake3::Hasher::new_derive_key("BitCode.jl compiled object 1");
        for part in [
            program.as_slice(),
            target.triple.as_bytes(),
            target.cpu.as_bytes(),
            target.features.as_bytes(),
            abi.as_bytes(),
            compiler.as_bytes(),
        ] {
            maker.update(&(part.len() as u64).to_le_bytes());
            maker.update(part);
        }
        let store = Self {
            directory,
            limit: bytes,
            maker,
            bytes: AtomicU64::new(0),
            written: AtomicU64::new(0),
            nonce: RandomState::new().build_hasher().finish(),
            looking: Mutex::new(()),
        };
        store.look();
        Ok(store)
    }

    /// What the object of an archive is kept under.
    pub(crate) fn key(&self, id: &CodeId) -> Key {
        let mut hasher = self.maker.clone();
        hasher.update(&id.0);
        Key(*hasher.finalize().as_bytes())
    }

    /// The object, if it is here and whole.
    pub(crate) fn find(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled object cannot be read");
                return None;
            }
        };
        if let Err(problem) = check(key, &bytes) {
            tracing::warn!(path = %path.display(), problem, "a compiled object is damaged, and made anew");
            self.remove(&path);
            return None;
        }
        // Its age is the time since its last use. Where that cannot be said, it goes a little early.
        let used = File::options().write(true).open(&path);
        if let Err(error) = used.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(path = %path.display(), %error, "the use of a compiled object cannot be noted");
        }
        bytes.drain(..HEADER);
        Some(bytes)
    }

    /// Keeps an object.
    pub(crate) fn keep(&self, key: &Key, object: &[u8]) {
        let bytes = (HEADER + object.len()) as u64;
        if bytes > self.limit {
            return;
        }
        if let Err(error) = self.write(key, object) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "a compiled object cannot be kept");
            return;
        }
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let written = self.written.load(Ordering::Relaxed);
        if total > self.limit || written.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
    }

    fn write(&self, key: &Key, object: &[u8]) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.path(key);
        let new = path.with_extension(format!("{:016x}-{number}.{NEW_SUFFIX}", self.nonce));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let hash = blake3::hash(object);
        // Not flushed to the disk: a file that a crash leaves half written is found out by its hash.
        let written = [MAGIC.as_slice(), &key.0, hash.as_bytes(), object]
            .iter()
            .try_for_each(|part| file.write_all(part))
            .and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            self.remove(&new);
        }
        written
    }

    fn path(&self, key: &Key) -> PathBuf {
        let mut name = String::with_capacity(2 * HASH + 1 + SUFFIX.len());
        for byte in key.0 {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        self.directory.join(name).with_extension(SUFFIX)
    }

    /// Removes a file, unless somebody else has.
    fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a file cannot be removed");
            }
            _ => {}
        }
    }

    /// Looks through the directory, and removes what has not been used for longest if it is too much.
    fn look(&self) {
        let Ok(_looking) = self.looking.try_lock() else {
            return; // Another thread is at it.
        };
        let mut files = match self.files() {
            Ok(files) => files,
            Err(error) => {
                let directory = self.directory.display();
                tracing::warn!(%directory, %error, "the compiled objects cannot be listed");
                return;
            }
        };
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        if total > self.limit {
            // A little more than needed, so that it is not needed again at once.
            let enough = self.limit - self.limit / 8;
            files.sort_unstable_by_key(|(used, _, _)| *used);
            for (_, bytes, path) in &files {
                if total <= enough {
                    break;
                }
                self.remove(path);
                total -= bytes;
            }
        }
        self.bytes.store(total, Ordering::Relaxed);
    }

    /// Last use, bytes and path of each object's file.
    fn files(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Another node may have removed it since.
            let Ok(about) = fs::symlink_metadata(&path) else {
                continue;
            };
            let used = about.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(SUFFIX) => files.push((used, about.len(), path)),
                Some(NEW_SUFFIX) if used.elapsed().is_ok_and(|age| age > ABANDONED) => {
                    self.remove(&path);
                }
                _ => {}
            }
        }
        Ok(files)
    }
}

/// Makes the directory, and sees to it that nobody else can write there.
fn make_private(directory: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    let about = made
        .and_then(|()| fs::metadata(directory))
        .map_err(|error| system(directory, error))?;
    // SAFETY: asks for a number.
    let user = unsafe { libc::geteuid() };
    let mode = about.permissions().mode() & 0o7777;
    if about.uid() == user && mode & 0o022 == 0 {
        return Ok(());
    }
    Err(StoreError::Exposed {
        path: directory.to_owned(),
        owner: about.uid(),
        mode,
    })
}

/// A hash of the program that makes the objects: what it lowers, and how, may change with every build of it.
fn this_program() -> Result<[u8; HASH], StoreError> {
    // Its name would give another file when it has been replaced since it started; this does not.
    let path = Path::new("/proc/self/exe");
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(|error| system(path, error))?;
    hasher
        .update_reader(file)
        .map_err(|error| system(path, error))?;
    Ok(*hasher.finalize().as_bytes())
}

fn system(path: &Path, error: io::Error) -> StoreError {
    StoreError::System {
        path: path.to_owned(),
        error,
    }
}

/// Is this the whole file of the key's object?
fn check(key: &Key, bytes: &[u8]) -> Result<(), &'static str> {
    let (Some(header), Some(object)) = (bytes.get(..HEADER), bytes.get(HEADER..)) else {
        return Err("it is too short");
    };
    let (magic, hashes) = header.split_at(MAGIC.len());
    let (kept_under, hash) = hashes.split_at(HASH);
    if magic != MAGIC {
        return Err("it does not begin as such a file does");
    }
    if kept_under != key.0 {
        return Err("it is another object's");
    }
    if hash != blake3::hash(object).as_bytes() {
        return Err("its hash is another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn target() -> Target {
        Target::host(None).unwrap()
    }

    fn store_for(target: &Target, directory: &Path, bytes: u64) -> Store {
        let config = StoreConfig {
            directory: directory.to_owned(),
            bytes,
        };
        Store::open(config, target, "an ABI", "19.1.7").unwrap()
    }

    fn store(directory: &TempDir, bytes: u64) -> Store {
        store_for(&target(), &directory.path().join("objects"), bytes)
    }

    fn key(store: &Store, archive: &str) -> Key {
        store.key(&CodeId::of(archive.as_bytes()))
    }

    fn age(store: &Store, key: &Key, seconds: u64) {
        let file = File::options().write(true).open(store.path(key)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    }

    #[test]
    fn what_one_process_keeps_the_next_one_finds() {
        let directory = TempDir::new().unwrap();
        let first = store(&directory, 1 << 20);
        assert!(first.find(&key(&first, "f")).is_none());
        first.keep(&key(&first, "f"), b"machine code");
        let next = store(&directory, 1 << 20);
        assert_eq!(next.find(&key(&next, "f")).unwrap(), b"machine code");
        assert!(next.find(&key(&next, "g")).is_none());
        let about = fs::metadata(next.path(&key(&next, "f"))).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn everything_that_decides_the_object_is_in_its_key() {
        let directory = TempDir::new().unwrap();
        let open = |target: &Target, abi: &str, compiler: &str| {
            let config = StoreConfig {
                directory: directory.path().join("objects"),
                bytes: 1 << 20,
            };
            let store = Store::open(config, target, abi, compiler).unwrap();
            key(&store, "f").0
        };
        let host = target();
        let (mut triple, mut cpu, mut features) = (host.clone(), host.clone(), host.clone());
        triple.triple = "aarch64-linux-gnu".into();
        cpu.cpu = "a64fx".into();
        features.features = "+sve".into();
        let mut keys = vec![
            open(&host, "abi", "19"),
            open(&triple, "abi", "19"),
            open(&cpu, "abi", "19"),
            open(&features, "abi", "19"),
            open(&host, "abi 2", "19"),
            open(&host, "abi", "20"),
            // Not the same text cut in two at another place.
            open(&host, "abi1", "9"),
        ];
        assert_eq!(keys[0], open(&host, "abi", "19"));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn what_is_damaged_is_not_believed_and_goes() {
        let directory = TempDir::new().unwrap();
        let store = store(&directory, 1 << 20);
        let key = key(&store, "f");
        let path = store.path(&key);
        store.keep(&key, b"machine code");
        let whole = fs::read(&path).unwrap();
        let mut wrongs = vec![Vec::new(), whole[..whole.len() - 1].to_vec()];
        for at in [0, MAGIC.len(), HEADER - 1, HEADER] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            wrongs.push(wrong);
        }
        wrongs.push([whole.as_slice(), b"and more"].concat());
        for wrong in wrongs {
            fs::write(&path, &wrong).unwrap();
            assert!(store.find(&key).is_none());
            assert!(!path.exists());
        }
        fs::write(&path, &whole).unwrap();
        assert!(store.find(&key).is_some());
    }

    #[test]
    fn an_object_under_anothers_name_is_not_taken_for_it() {
        let directory = TempDir::new().unwrap();
        let store = store(&directory, 1 << 20);
        let (f, g) = (key(&store, "f"), key(&store, "g"));
        store.keep(&f, b"the machine code of f");
        fs::rename(store.path(&f), store.path(&g)).unwrap();
        assert!(store.find(&g).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let directory = TempDir::new().unwrap();
        let object = [7; 1000];
        let file = (HEADER + object.len()) as u64;
        let store = store(&directory, 8 * file);
        let keys: Vec<_> = (0..9).map(|i| key(&store, &i.to_string())).collect();
        for (i, key) in keys[..8].iter().enumerate() {
            store.keep(key, &object);
            age(&store, key, 100 - i as u64);
        }
        assert!(store.find(&keys[0]).is_some(), "used now");
        store.keep(&keys[8], &object);
        let left: Vec<_> = keys.iter().map(|key| store.path(key).exists()).collect();
        let expected = [true, false, false, true, true, true, true, true, true];
        assert_eq!(left, expected, "down to seven eighths of the limit");
        store.keep(&key(&store, "huge"), &[0; 9000]);
        assert!(store.find(&key(&store, "huge")).is_none());
    }

    #[test]
    fn a_node_sees_what_others_have_added() {
        let directory = TempDir::new().unwrap();
        let object = [7; 1000];
        let file = (HEADER + object.len()) as u64;
        let ours = store(&directory, 10 * file);
        let theirs = store(&directory, 1 << 20);
        for i in 0..20 {
            theirs.keep(&key(&theirs, &i.to_string()), &object);
        }
        ours.look();
        assert!(ours.files().unwrap().len() < 10);
    }

    #[test]
    fn what_a_dead_process_left_half_written_goes() {
        let directory = TempDir::new().unwrap();
        let store = store(&directory, 1 << 20);
        let old = store.directory.join("0123.4567-1.new");
        let young = store.directory.join("0123.4567-2.new");
        fs::write(&young, b"half").unwrap();
        fs::write(&old, b"half").unwrap();
        let then = SystemTime::now() - 2 * ABANDONED;
        let file = File::options().write(true).open(&old).unwrap();
        file.set_modified(then).unwrap();
        store.look();
        assert!(young.exists() && !old.exists());
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("objects");
        fs::create_dir(&path).unwrap();
        for mode in [0o770, 0o702, 0o1777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Store::open(
                StoreConfig {
                    directory: path.clone(),
                    bytes: 1 << 20,
                },
                &target(),
                "abi",
                "19",
            )
            .err()
            .unwrap();
            assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("mode 700"), "{error}");
        }
    }

    #[test]
    fn the_page_says_where_things_are_in_a_file() {
        let directory = TempDir::new().unwrap();
        let store = store(&directory, 1 << 20);
        let key = key(&store, "f");
        store.keep(&key, b"machine code");
        let file = fs::read(store.path(&key)).unwrap();
        assert!(file.starts_with(b"BCOBJ\0\0\x01"));
        assert_eq!(&file[8..40], key.0);
        assert_eq!(&file[40..72], blake3::hash(b"machine code").as_bytes());
        assert_eq!(&file[72..], b"machine code");
        let page = include_str!("../../../docs/RUNTIME.md");
        for row in ["| 8 | 32 | the key |", "| 40 | 32 | BLAKE3", "| 72 | … |"] {
            assert!(page.contains(row), "{row}");
        }
    }

    #[test]
    fn a_full_or_missing_directory_is_a_miss_and_no_more() {
        let directory = TempDir::new().unwrap();
        let store = store(&directory, 1 << 20);
        let key = key(&store, "f");
        fs::remove_dir_all(&store.directory).unwrap();
        store.keep(&key, b"machine code");
        assert!(store.find(&key).is_none());
    }
}
