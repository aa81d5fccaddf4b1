//! Links: the sessions that this node asks other nodes for, when a call wants to hop there. One thread each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bitcode_transport::control::{self, Channel};
use bitcode_wire::handshake::{Hello, Role};

use super::{CHANNEL_STACK, HANDSHAKE, Shared};
use crate::key::Key;
use crate::message::{LinkTerms, ToEngine};

impl Shared {
    /// Connects to another node, and tells the engine what came of it.
    pub(super) fn begin_link(self: &Arc<Self>, link: u16, place: String, address: Vec<u8>) {
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("bitcode-link".into())
            .stack_size(CHANNEL_STACK)
            .spawn(move || {
                let reason = shared.hold_link(link, &place, address);
                shared.links.lock().remove(&link);
                shared.tell_engine(ToEngine::Unlinked { link, reason });
            });
        if let Err(error) = spawned {
            let reason = format!("no thread for a link: {error}");
            self.tell_engine(ToEngine::Unlinked { link, reason });
        }
    }

    /// The whole life of a link. Returns why it is over.
    fn hold_link(&self, link: u16, place: &str, address: Vec<u8>) -> String {
        let mut channel = match self.connect(link, place, address) {
            Ok(channel) => channel,
            Err(reason) => return reason,
        };
        if self.stopping.load(Ordering::SeqCst) {
            channel.closer().close(); // All others are being closed, or have been.
        }
        channel.wait_for_end().to_string()
    }

    fn connect(&self, link: u16, place: &str, address: Vec<u8>) -> Result<Channel, String> {
        let key = self.key.as_ref().map(Key::bytes);
        let own = &self.welcome;
        let hello = Hello {
            version: own.version.clone(),
            role: Role::Origin,
            pid: own.pid,
            hostname: own.hostname.clone(),
            arch: own.arch.clone(),
            worker_address: address,
            transport: own.transport.clone(),
            epoch: link,
        };
        let connected =
            control::connect(place, key, &hello, HANDSHAKE).map_err(|error| error.to_string())?;
        let terms = LinkTerms {
            keys: connected.keys,
            session: connected.welcome.session,
            address: connected.welcome.worker_address,
            max_frame: connected.welcome.max_frame,
        };
        // First of all, so that the engine may give it up at once.
        let closer = connected.channel.closer();
        self.links.lock().insert(link, closer);
        self.tell_engine(ToEngine::Linked { link, terms });
        Ok(connected.channel)
    }
}
