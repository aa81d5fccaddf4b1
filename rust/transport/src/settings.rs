//! Settings of a fabric: values, not environment variables, so that two fabrics of one process may differ.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::TransportError;

/// Which transports UCX may use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum TransportChoice {
    /// Whatever is fastest to each peer.
    #[default]
    Auto,
    /// Shared memory only.
    Shm,
    /// TCP only.
    Tcp,
    /// UCX's own names, as in its variable `UCX_TLS`.
    Named(String),
}

impl FromStr for TransportChoice {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let text = text.trim();
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | '\\' | '^' | ':' | '/');
        match text {
            "auto" => Ok(Self::Auto),
            "shm" => Ok(Self::Shm),
            "tcp" => Ok(Self::Tcp),
            _ if !text.is_empty() && text.chars().all(allowed) => Ok(Self::Named(text.to_owned())),
            _ => Err(TransportError::Setting {
                name: "transport",
                value: text.to_owned(),
                expected: "`auto`, `shm`, `tcp`, or a list of UCX transports such as `rc_x,self`",
            }),
        }
    }
}

impl fmt::Display for TransportChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Shm => "shm",
            Self::Tcp => "tcp",
            Self::Named(names) => names,
        })
    }
}

/// Settings of a fabric.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Which transports UCX may use.
    pub transport: TransportChoice,
    /// Which network devices UCX may use (`UCX_NET_DEVICES`), for example `eth0,lo`; `None` leaves it to UCX.
    pub net_devices: Option<String>,
    /// The longest body accepted, either way.
    pub max_body: usize,
    /// How often UCX looks whether its peers are alive.
    pub keepalive: Duration,
    /// Several threads that poll deliver the frames of one peer one after the other, as they came. Who sets it must not wait for frames of a peer while it is given
    /// one, as a node does that runs code right then.
    pub in_order: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transport: TransportChoice::Auto,
            net_devices: None,
            max_body: 4 << 30,
            keepalive: Duration::from_secs(1),
            in_order: false,
        }
    }
}

impl Settings {
    /// The defaults, with this transport.
    pub fn with_transport(transport: TransportChoice) -> Self {
        Self {
            transport,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_shown() {
        for text in ["auto", "shm", "tcp", "posix,cma", "rc_x,self", "^tcp"] {
            assert_eq!(text.parse::<TransportChoice>().unwrap().to_string(), text);
        }
        for text in ["", " ", "a b", "tcp;rm", "tcp\n"] {
            let read = text.parse::<TransportChoice>();
            assert!(
                read.is_err() || text.trim() == "tcp",
                "{text:?} gave {read:?}"
            );
        }
    }
}
