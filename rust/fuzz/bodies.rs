//! What each fuzz target does with its input. Shared by the targets of this crate and by `rust/wire/tests/`, which runs the
//! same functions on a stable toolchain; it names nothing but the public functions of `bitcode_wire`.
//!
//! Each body holds the decoder to two promises: it never panics, and bytes that decode are the only spelling of their
//! value, so that encoding it again gives the same bytes. It returns whether anything was decoded.

use bitcode_wire::archive::Archive;
use bitcode_wire::error::ErrorPayload;
use bitcode_wire::frame::{
    Directory, HEADER_LEN, Header, OutputPayload, OutputTaken, Payloads, SegmentGone, SegmentGrant,
    SegmentRequest, SessionKey, StageTimings, Steps, TrailRequest, View,
};
use bitcode_wire::handshake::{Answer, Hello, Preamble};
use bitcode_wire::library::Library;
use bitcode_wire::link::Bundle;
use bitcode_wire::manifest::Manifest;

/// A frame's header; the bytes after it stand for the body.
pub(crate) fn frame_header(data: &[u8]) -> bool {
    let Some((bytes, body)) = data.split_first_chunk::<HEADER_LEN>() else {
        return Header::decode(data).is_ok();
    };
    let Ok(header) = Header::decode(bytes) else {
        return false;
    };
    let key = SessionKey::new([7; SessionKey::LEN]);
    let _ = header.verify(bytes, &key, body.len());
    let fits = header.archive_len as usize <= body.len();
    assert_eq!(header.split(body).is_ok(), fits);

    let again = header.encode(&key, body.len());
    let tag_at = HEADER_LEN - size_of::<u64>();
    assert_eq!(
        again[..tag_at],
        bytes[..tag_at],
        "a header has one spelling"
    );
    assert_eq!(
        header.verify(&again, &key, body.len()).is_ok(),
        fits,
        "its own tag fits it"
    );
    assert!(
        header.verify(&again, &key, body.len() + 1).is_err(),
        "the tag covers the body's length"
    );
    true
}

/// A frame's trailer: an archive, with those that it links to or without.
pub(crate) fn bundle(data: &[u8]) -> bool {
    match Bundle::decode(data) {
        Ok(bundle) => {
            let bytes = bundle.encode().expect("what decodes also encodes");
            assert!(bytes == data, "a bundle has one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A whole archive.
pub(crate) fn archive(data: &[u8]) -> bool {
    match Archive::decode(data) {
        Ok(archive) => {
            let (bytes, _) = archive.encode().expect("what decodes also encodes");
            assert!(bytes == data, "an archive has one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A file of shipped functions, or an archive by itself.
pub(crate) fn library(data: &[u8]) -> bool {
    match Library::decode(data) {
        Ok(library) => {
            let bytes = library.encode().expect("what decodes also encodes");
            let alone = data.starts_with(&bitcode_wire::archive::MAGIC);
            assert!(alone || bytes == data, "a library has one spelling");
            assert!(Library::decode(&bytes) == Ok(library), "it reads the same");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A manifest.
pub(crate) fn manifest(data: &[u8]) -> bool {
    match Manifest::decode(data) {
        Ok(manifest) => {
            let bytes = manifest.encode().expect("what decodes also encodes");
            assert!(bytes == data, "a manifest has one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Each message of the control channel.
pub(crate) fn handshake(data: &[u8]) -> bool {
    let mut decoded = false;
    if let Ok(preamble) = Preamble::decode(data) {
        assert_eq!(preamble.encode(), data, "a preamble has one spelling");
        let ours = Preamble::ours(true);
        assert_eq!(
            ours.agree(&preamble).is_ok(),
            preamble.agree(&ours).is_ok(),
            "both sides come to one result"
        );
        decoded = true;
    }
    if let Ok(hello) = Hello::decode(data) {
        assert!(
            hello.encode().expect("what decodes also encodes") == data,
            "a hello has one spelling"
        );
        decoded = true;
    }
    if let Ok(answer) = Answer::decode(data) {
        assert!(
            answer.encode().expect("what decodes also encodes") == data,
            "an answer has one spelling"
        );
        decoded = true;
    }
    decoded
}

/// Payloads of several calls.
pub(crate) fn payloads(data: &[u8]) -> bool {
    match Payloads::places(data) {
        Ok(places) => {
            let mut again = Payloads::default();
            for place in places {
                again.push([&data[place]]);
            }
            assert!(again.take() == data, "payloads have one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The payload of an ERROR frame.
pub(crate) fn error_payload(data: &[u8]) -> bool {
    match ErrorPayload::decode(data) {
        Ok(error) => {
            assert!(error.encode() == data, "an ERROR payload has one spelling");
            assert!(!error.to_string().is_empty());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The payloads of OUTPUT and OUTPUT_TAKEN frames.
pub(crate) fn output(data: &[u8]) -> bool {
    if let Ok(taken) = OutputTaken::decode(data) {
        assert!(taken.encode() == data, "a position has one spelling");
    }
    match OutputPayload::decode(data) {
        Ok(piece) => {
            assert!(piece.encode() == data, "a piece of output has one spelling");
            assert!(piece.text.len() <= OutputPayload::MAX_TEXT);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The payloads of SEGMENT and SEGMENT_GONE frames, and the grant that answers a SEGMENT.
pub(crate) fn segment(data: &[u8]) -> bool {
    let gone = SegmentGone::decode(data);
    if let Ok(gone) = gone {
        assert!(gone.encode() == data, "a number has one spelling");
    }
    let request = SegmentRequest::decode(data);
    if let Ok(request) = request {
        assert!(request.encode() == data, "a request has one spelling");
    }
    match SegmentGrant::decode(data) {
        Ok(grant) => {
            let bytes = grant.encode().expect("what decodes also encodes");
            assert!(bytes == data, "a grant has one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            gone.is_ok() || request.is_ok()
        }
    }
}

/// The payload of a DIRECTORY frame.
pub(crate) fn directory(data: &[u8]) -> bool {
    match Directory::decode(data) {
        Ok(directory) => {
            let bytes = directory.encode().expect("what decodes also encodes");
            assert!(bytes == data, "a directory has one spelling");
            assert!(directory.address(directory.here).is_some());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The question where a call went, and the answer.
pub(crate) fn trail(data: &[u8]) -> bool {
    let request = TrailRequest::decode(data);
    if let Ok(request) = &request {
        assert!(request.encode() == data, "a TRAIL has one spelling");
    }
    match Steps::decode(data) {
        Ok(steps) => {
            let bytes = Steps::encode(&steps).expect("what decodes also encodes");
            assert!(bytes == data, "steps have one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            request.is_ok()
        }
    }
}

/// A trailer of timings, and the payload of a call that only asks to be shown its code.
pub(crate) fn timings(data: &[u8]) -> bool {
    if let Some(view) = View::decode(data) {
        assert!(view.encode() == data, "a view has one spelling");
    }
    match StageTimings::decode(data) {
        Ok(timings) => {
            assert!(timings.encode() == data, "timings have one spelling");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
