//! The key file: what proves to a node that an origin may run code on it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The fewest bytes of a key.
pub const MIN_KEY: usize = 16;
/// The most bytes of a key file.
const MAX_KEY: u64 = 64 << 10;

/// A key. Never printed; wiped when dropped.
pub struct Key(zeroize::Zeroizing<Vec<u8>>);

/// Why a key file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "the key file {path} can be used by others than its owner (mode {mode:04o}): run `chmod 600` on it, and make a new key if others may have read it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Too short to be a secret, or too long to be a key.
    #[error(
        "the key file {path} holds {len} bytes: a key has {MIN_KEY} to 65536 (for example `head -c 32 /dev/urandom`)"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        len: usize,
    },
}

impl Key {
    /// Reads a key file. A regular file must be its owner's alone; a pipe is taken as it is. One newline at the end is
    /// not part of the key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Read {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() && mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        file.take(MAX_KEY + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.len() < MIN_KEY || bytes.len() as u64 > MAX_KEY {
            return Err(KeyError::Length {
                path: path.to_owned(),
                len: bytes.len(),
            });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};

    fn file(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, bytes).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_newline_at_the_end_is_not_part_of_the_key() {
        for text in [&b"0123456789abcdef\n"[..], b"0123456789abcdef"] {
            let (_dir, path) = file(text, 0o600);
            assert_eq!(Key::read(&path).unwrap().bytes(), b"0123456789abcdef");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o777] {
            let (_dir, path) = file(&[1; 32], mode);
            let error = Key::read(&path).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn short_long_and_missing_keys_are_refused() {
        let (_dir, short) = file(b"0123456789abcde\n", 0o400);
        assert!(matches!(
            Key::read(&short).unwrap_err(),
            KeyError::Length { len: 15, .. }
        ));
        let (_dir, long) = file(&vec![7; 70_000], 0o600);
        assert!(matches!(
            Key::read(&long).unwrap_err(),
            KeyError::Length { .. }
        ));
        let missing = Key::read(Path::new("/nonexistent/key")).unwrap_err();
        assert!(matches!(missing, KeyError::Read { .. }));
    }

    #[test]
    fn a_key_shows_nothing() {
        let (_dir, path) = file(b"a very secret key", 0o600);
        assert_eq!(format!("{:?}", Key::read(&path).unwrap()), "Key(..)");
    }
}
