//! Calls with the flag SHOW: what this node makes of an archive, as text.

use std::sync::Arc;

use bitcode_transport::{Fabric, Segment};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Kind, View};

use super::execute::open;
use super::reply::NO_TOKEN;
use super::{CallContext, Engine};
use crate::loader::{LoadError, Loader};

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Answers with the text of the code that the call brought.
    pub(super) fn show(&self, context: &CallContext, body: &[u8]) {
        let to = context.answered();
        match self.text(context, body) {
            Ok(text) if text.len() <= self.settings.max_frame => {
                let text = [Segment::shared(Arc::new(text.into_bytes()))];
                let sent = self.send(to, Kind::Value, &text, None, NO_TOKEN);
                self.note_unsent(to, sent.map(|_| ()));
            }
            Ok(text) => {
                let message = format!(
                    "the text of the code takes {} bytes, this node sends at most {}",
                    text.len(),
                    self.settings.max_frame
                );
                self.send_error(to, ErrorCode::TOO_LARGE, &message);
            }
            Err(error) => self.send_error(to, error.code, &error.message),
        }
    }

    fn text(&self, context: &CallContext, body: &[u8]) -> Result<String, LoadError> {
        let (payload, archive) = body.split_at(context.payload_len);
        let view = View::decode(payload).ok_or_else(|| LoadError {
            code: ErrorCode::BAD_PAYLOAD,
            message: "the payload names no form of code that this node knows".into(),
        })?;
        let (id, decoded) = open(context.prefix, archive).map_err(|refusal| refusal.error)?;
        self.loader.show(&id, &decoded, view)
    }
}
