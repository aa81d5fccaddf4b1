//! Configuration: one set of settings, from a TOML file and from the command line, which wins.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcode_transport::{Settings, TransportChoice, TransportError};
use serde::Deserialize;

use bitcode_jit::{AllowedLibraries, JitConfig, StoreConfig};

use crate::key::{Key, KeyError};
use crate::{EngineSettings, PoolSettings};

/// Where a node listens if nobody says.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:0";

/// Bytes of compiled objects that a node keeps on disk if nobody says.
const OBJECT_CACHE_BYTES: u64 = 1 << 30;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {error}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// A setting has no meaning.
    #[error("{name} = {value}: {expected}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A setting of the transport has no meaning.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Anybody could run code here.
    #[error(
        "{listen} can be reached from other machines, and without a key anyone there could run code here: give --key-file, or listen on 127.0.0.1"
    )]
    OpenToAll {
        /// The address.
        listen: String,
    },
}

/// The settings as they are written down, in a file or on the command line (docs/NODE.md): every one optional. Unknown names
/// are refused, since a misspelt setting would silently do nothing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Wishes {
    /// Where to listen, port 0 for any free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// File with the key that origins must have, too; needed to listen on anything but loopback
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Transports: auto, shm, tcp, or a list in UCX's own words [default: auto]
    #[arg(long, value_name = "NAMES")]
    pub transport: Option<String>,
    /// Network devices that UCX may use, such as eth0,lo
    #[arg(long, value_name = "NAMES")]
    pub net_devices: Option<String>,
    /// Bytes of compiled code to keep [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub cache_bytes: Option<u64>,
    /// Directory, for this user alone, where compiled objects are kept, so that a restarted node need not compile again
    #[arg(long, value_name = "DIRECTORY")]
    pub object_cache: Option<PathBuf>,
    /// Bytes of compiled objects to keep there [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    pub object_cache_bytes: Option<u64>,
    /// Run native images only, and compile nothing
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub no_jit: Option<bool>,
    /// The longest frame to take or send [default: 4294967296]
    #[arg(long, value_name = "BYTES")]
    pub max_frame: Option<u64>,
    /// Bytes of memory that one call may use; more is an OutOfMemoryError [default: 8589934592]
    #[arg(long, value_name = "BYTES")]
    pub call_memory: Option<u64>,
    /// Bytes that segments may take, memory that origins read and write themselves; 0 for none [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// Collect garbage whenever a call has taken so many bytes: few of them find mistakes [default: as it pays]
    #[arg(long, value_name = "BYTES")]
    pub collect_after: Option<u64>,
    /// What to log: a level, or a list such as warn,bitcode_node=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Threads that run shipped code [default: one per core]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Microseconds to go on looking for frames before sleeping [default: 50]
    #[arg(long, value_name = "MICROSECONDS")]
    pub spin_us: Option<u64>,
    /// CPU to compile for, in LLVM's words [default: the one it runs on]
    #[arg(long, value_name = "NAME")]
    pub cpu: Option<String>,
    /// C library that shipped code may call besides the default ones: a name such as libz.so.1, or a path; repeatable
    #[arg(long, value_name = "NAME")]
    pub allow_library: Option<Vec<String>>,
    /// C library of the default ones that shipped code may not call, or all; repeatable
    #[arg(long, value_name = "NAME")]
    pub deny_library: Option<Vec<String>>,
    /// Stop when standard input ends, that is, when the parent process is gone
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub exit_on_stdin_eof: Option<bool>,
    /// What running calls get when told to stop [default: 1000]
    #[arg(long, value_name = "MILLISECONDS")]
    pub grace_ms: Option<u64>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings of a node, all decided.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen for control channels: the first of these that can be had.
    pub listen: Vec<SocketAddr>,
    /// The key, if there is one.
    pub key: Option<Key>,
    /// Settings of the fabric.
    pub fabric: Settings,
    /// Settings of the engine.
    pub engine: EngineSettings,
    /// Settings of the engine's threads.
    pub pool: PoolSettings,
    /// What to compile for, what calls may use, where compiled objects are kept.
    pub jit: JitConfig,
    /// Stop when standard input ends.
    pub exit_on_stdin_eof: bool,
    /// What running calls get when the node is told to stop.
    pub grace: Duration,
}

impl Wishes {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// These wishes, and where there are none, the others'.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            listen: self.listen.or(others.listen),
            key_file: self.key_file.or(others.key_file),
            transport: self.transport.or(others.transport),
            net_devices: self.net_devices.or(others.net_devices),
            cache_bytes: self.cache_bytes.or(others.cache_bytes),
            object_cache: self.object_cache.or(others.object_cache),
            object_cache_bytes: self.object_cache_bytes.or(others.object_cache_bytes),
            no_jit: self.no_jit.or(others.no_jit),
            max_frame: self.max_frame.or(others.max_frame),
            call_memory: self.call_memory.or(others.call_memory),
            segment_bytes: self.segment_bytes.or(others.segment_bytes),
            collect_after: self.collect_after.or(others.collect_after),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
            threads: self.threads.or(others.threads),
            spin_us: self.spin_us.or(others.spin_us),
            cpu: self.cpu.or(others.cpu),
            allow_library: self.allow_library.or(others.allow_library),
            deny_library: self.deny_library.or(others.deny_library),
            exit_on_stdin_eof: self.exit_on_stdin_eof.or(others.exit_on_stdin_eof),
            grace_ms: self.grace_ms.or(others.grace_ms),
        }
    }

    /// Decides: defaults for what nobody wished, and checks.
    ///
    /// # Errors
    /// A wish that makes no sense, a key that cannot be used, or a node that would be open to all.
    pub fn decide(self) -> Result<Config, ConfigError> {
        let place = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let listen = resolve(place)?;
        let key = self.key_file.as_deref().map(Key::read).transpose()?;
        if key.is_none() && !listen.iter().all(|it| it.ip().is_loopback()) {
            let listen = place.to_owned();
            return Err(ConfigError::OpenToAll { listen });
        }
        let transport = self.transport.as_deref().unwrap_or("auto");
        let choice: TransportChoice = transport.parse()?;
        let mut fabric = Settings::with_transport(choice);
        fabric.net_devices = self.net_devices;
        let mut engine = EngineSettings::default();
        if let Some(bytes) = self.cache_bytes {
            engine.cache_bytes = size("cache-bytes", bytes)?;
        }
        if let Some(bytes) = self.max_frame {
            engine.max_frame = size("max-frame", bytes)?;
        }
        fabric.max_body = engine.max_frame;
        if let Some(bytes) = self.segment_bytes {
            engine.segment_bytes = bytes;
        }
        let mut jit = JitConfig::default();
        jit.cpu = self.cpu;
        if let Some(bytes) = self.call_memory {
            jit.limits.memory = size("call-memory", bytes)?;
        }
        jit.limits.collect_after = self
            .collect_after
            .map(|bytes| size("collect-after", bytes))
            .transpose()?;
        jit.libraries = libraries(
            self.allow_library.as_deref().unwrap_or_default(),
            self.deny_library.as_deref().unwrap_or_default(),
        )?;
        jit.store = store(self.object_cache, self.object_cache_bytes)?;
        jit.objects_only = self.no_jit.unwrap_or(false);
        let mut pool = PoolSettings::default();
        if let Some(threads) = self.threads {
            if !(1..=1024).contains(&threads) {
                return Err(ConfigError::Setting {
                    name: "threads",
                    value: threads.to_string(),
                    expected: "1 to 1024".into(),
                });
            }
            pool.threads = threads + 1; // And one that leads.
            pool.most_threads = pool.most_threads.max(pool.threads);
        }
        if let Some(us) = self.spin_us {
            pool.spin = Duration::from_micros(us);
        }
        Ok(Config {
            listen,
            key,
            fabric,
            engine,
            pool,
            jit,
            exit_on_stdin_eof: self.exit_on_stdin_eof.unwrap_or(false),
            grace: Duration::from_millis(self.grace_ms.unwrap_or(1000)),
        })
    }
}

/// The default libraries, without those denied, and with those allowed.
fn libraries(allow: &[String], deny: &[String]) -> Result<AllowedLibraries, ConfigError> {
    let mut libraries = AllowedLibraries::default();
    for name in deny {
        if name == "all" {
            libraries = AllowedLibraries::none();
        } else if libraries.names().any(|allowed| allowed == name) {
            libraries.deny(name);
        } else {
            let known: Vec<_> = libraries.names().collect();
            return Err(ConfigError::Setting {
                name: "deny-library",
                value: name.clone(),
                expected: format!("all, or one of {}", known.join(", ")),
            });
        }
    }
    for name in allow {
        if name.is_empty() || name.ends_with('/') {
            return Err(ConfigError::Setting {
                name: "allow-library",
                value: name.clone(),
                expected: "a library's name, such as libz.so.1, or a path to its file".into(),
            });
        }
        libraries.allow(name);
    }
    Ok(libraries)
}

/// Where compiled objects are kept, if anywhere.
fn store(
    directory: Option<PathBuf>,
    bytes: Option<u64>,
) -> Result<Option<StoreConfig>, ConfigError> {
    match (directory, bytes) {
        (None, None) => Ok(None),
        (None, Some(bytes)) => Err(ConfigError::Setting {
            name: "object-cache-bytes",
            value: bytes.to_string(),
            expected: "together with object-cache, the directory".into(),
        }),
        (Some(directory), bytes) => Ok(Some(StoreConfig {
            directory,
            bytes: bytes.unwrap_or(OBJECT_CACHE_BYTES),
        })),
    }
}

fn size(name: &'static str, bytes: u64) -> Result<usize, ConfigError> {
    usize::try_from(bytes).map_err(|_| ConfigError::Setting {
        name,
        value: bytes.to_string(),
        expected: "fewer bytes than this machine can address".into(),
    })
}

/// What the address to listen on stands for. Looked up once: what was checked is what is bound to.
fn resolve(listen: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let wrong = |expected: String| ConfigError::Setting {
        name: "listen",
        value: listen.into(),
        expected,
    };
    let addresses = listen
        .to_socket_addrs()
        .map_err(|error| wrong(format!("HOST:PORT ({error})")))?;
    let all: Vec<_> = addresses.collect();
    if all.is_empty() {
        return Err(wrong("a name that stands for an address".into()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
        let file: Wishes = toml::from_str(
            "listen = '127.0.0.1:7000'\ncache-bytes = 1000\ncall-memory = 5000\ntransport = 'tcp'\nlog-format = 'json'",
        )
        .unwrap();
        let line = Wishes {
            cache_bytes: Some(2000),
            ..Wishes::default()
        };
        let wishes = line.or(file);
        assert_eq!(wishes.log_format, Some(LogFormat::Json));
        let config = wishes.decide().unwrap();
        assert_eq!(config.listen, ["127.0.0.1:7000".parse().unwrap()]);
        assert_eq!(config.engine.cache_bytes, 2000);
        assert_eq!(config.jit.limits.memory, 5000);
        assert_eq!(config.fabric.transport, TransportChoice::Tcp);
        assert_eq!(config.grace, Duration::from_secs(1));
    }

    #[test]
    fn a_misspelt_name_is_refused_by_name() {
        let error = toml::from_str::<Wishes>("cache_bytes = 1").unwrap_err();
        assert!(error.to_string().contains("cache_bytes"), "{error}");
    }

    #[test]
    fn without_a_key_only_loopback_is_listened_on() {
        for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let wishes = Wishes {
                listen: Some(listen.into()),
                ..Wishes::default()
            };
            let error = wishes.decide().unwrap_err();
            assert!(matches!(error, ConfigError::OpenToAll { .. }), "{error}");
            assert!(error.to_string().contains("--key-file"), "{error}");
        }
        for listen in ["127.0.0.1:0", "[::1]:1", "127.3.2.1:9"] {
            let wishes = Wishes {
                listen: Some(listen.into()),
                ..Wishes::default()
            };
            assert_eq!(wishes.decide().unwrap().listen, [listen.parse().unwrap()]);
        }
    }

    #[test]
    fn libraries_are_allowed_and_denied_by_name() {
        let names = |text: &str| {
            let wishes: Wishes = toml::from_str(text).unwrap();
            let config = wishes.decide().unwrap();
            let names: Vec<_> = config.jit.libraries.names().map(String::from).collect();
            names
        };
        assert!(names("").contains(&"libgmp".into()));
        assert!(!names("deny-library = ['libgmp']").contains(&"libgmp".into()));
        let text = "deny-library = ['all']\nallow-library = ['libz.so.1', '/opt/lib/libfoo.so']";
        assert_eq!(names(text), ["libz.so.1", "libfoo.so"]);
    }

    #[test]
    fn compiled_objects_are_kept_where_it_is_said_and_nowhere_else() {
        let store = |text: &str| {
            let wishes: Wishes = toml::from_str(text).unwrap();
            wishes.decide().unwrap().jit.store
        };
        assert_eq!(store(""), None);
        let there = |bytes| StoreConfig {
            directory: "/var/cache/bitcode".into(),
            bytes,
        };
        let line = "object-cache = '/var/cache/bitcode'";
        assert_eq!(store(line), Some(there(1 << 30)));
        let both = format!("{line}\nobject-cache-bytes = 5000");
        assert_eq!(store(&both), Some(there(5000)));
    }

    #[test]
    fn settings_without_meaning_are_refused() {
        let wishes = [
            Wishes {
                object_cache_bytes: Some(1000),
                ..Wishes::default()
            },
            Wishes {
                deny_library: Some(vec!["libnothing".into()]),
                ..Wishes::default()
            },
            Wishes {
                allow_library: Some(vec!["/opt/lib/".into()]),
                ..Wishes::default()
            },
            Wishes {
                listen: Some("nonsense".into()),
                ..Wishes::default()
            },
            Wishes {
                transport: Some("a b".into()),
                ..Wishes::default()
            },
            Wishes {
                threads: Some(0),
                ..Wishes::default()
            },
        ];
        for wish in wishes {
            let error = wish.decide().unwrap_err();
            let told = matches!(
                error,
                ConfigError::Setting { .. } | ConfigError::Transport(_)
            );
            assert!(told, "{error}");
        }
    }

    /// The table of docs/NODE.md, made from the settings.
    fn table() -> String {
        let command = <Wishes as clap::Args>::augment_args(clap::Command::new("bitcode-node"));
        let row = |argument: &clap::Arg| {
            let name = argument.get_long().unwrap();
            let help = argument.get_help().unwrap().to_string();
            let (meaning, default) = match help.split_once(" [default: ") {
                Some((meaning, default)) => (meaning, default.strip_suffix(']').unwrap()),
                None => (help.as_str(), "none"),
            };
            let value = match argument.get_value_names().unwrap_or_default() {
                _ if argument.get_num_args() == Some(0.into()) => "true",
                [value] => value.as_str(),
                several => panic!("{name} has the values {several:?}"),
            };
            format!("| `{name}` | {value} | {meaning} | {default} |\n")
        };
        command.get_arguments().map(row).collect()
    }

    #[test]
    fn the_settings_are_documented() {
        let page = include_str!("../../../docs/NODE.md");
        assert!(page.contains(&table()), "docs/NODE.md wants\n{}", table());
    }

    #[test]
    fn the_defaults_are_what_they_are_said_to_be() {
        let config = Wishes::default().decide().unwrap();
        let defaults = [
            ("listen", config.listen[0].to_string()),
            ("transport", "auto".into()),
            ("cache-bytes", config.engine.cache_bytes.to_string()),
            ("object-cache-bytes", OBJECT_CACHE_BYTES.to_string()),
            ("max-frame", config.engine.max_frame.to_string()),
            ("call-memory", config.jit.limits.memory.to_string()),
            ("segment-bytes", config.engine.segment_bytes.to_string()),
            ("spin-us", config.pool.spin.as_micros().to_string()),
            ("grace-ms", config.grace.as_millis().to_string()),
        ];
        assert_eq!(config.fabric.transport, TransportChoice::Auto);
        for (name, value) in defaults {
            let said = table().lines().any(|row| {
                row.starts_with(&format!("| `{name}` |")) && row.ends_with(&format!("| {value} |"))
            });
            assert!(said, "{name} is {value} by default");
        }
    }
}
