//! Error codes and the payload of an ERROR frame.

use bitcode_wire::codec::Problem;
use bitcode_wire::error::{ErrorCode, ErrorPayload};

#[test]
fn known_codes_have_names_and_are_in_order() {
    assert!(ErrorCode::KNOWN.is_sorted_by(|one, next| one.0 < next.0));
    for code in ErrorCode::KNOWN {
        assert_ne!(code.0, 0);
        assert_eq!(Some(code.to_string().as_str()), code.name());
    }
    assert_eq!(ErrorCode::BAD_ABI.0, 14);
}

#[test]
fn unknown_codes_survive() {
    let bytes = ErrorPayload {
        code: ErrorCode(4_000_000_000),
        message: "from the future",
    }
    .encode();
    let error = ErrorPayload::decode(&bytes).unwrap();
    assert_eq!(error.code, ErrorCode(4_000_000_000));
    assert_eq!(error.code.name(), None);
    assert_eq!(error.to_string(), "error code 4000000000: from the future");
    assert_eq!(format!("{:?}", ErrorCode::FAULT), "FAULT (9)");
}

#[test]
fn a_message_too_long_is_cut_at_a_character() {
    let message = "é".repeat(ErrorPayload::MAX_MESSAGE);
    let padded = format!("x{message}");
    let bytes = ErrorPayload {
        code: ErrorCode::INTERNAL,
        message: &padded,
    }
    .encode();
    let error = ErrorPayload::decode(&bytes).unwrap();
    assert_eq!(error.message.len(), ErrorPayload::MAX_MESSAGE - 1);
    assert!(padded.starts_with(error.message));
}

#[test]
fn refuses_bad_text_and_bad_lengths() {
    let mut bytes = ErrorPayload {
        code: ErrorCode::FAULT,
        message: "signal",
    }
    .encode();
    bytes[8] = 0xFF;
    assert_eq!(
        ErrorPayload::decode(&bytes).unwrap_err().problem,
        Problem::NotUtf8
    );
    bytes[8] = b's';
    bytes[4] = 5;
    assert_eq!(
        ErrorPayload::decode(&bytes).unwrap_err().problem,
        Problem::Trailing(1)
    );
    bytes[4] = 7;
    assert_eq!(
        ErrorPayload::decode(&bytes).unwrap_err().problem,
        Problem::Short { wanted: 7, left: 6 }
    );
    bytes[7] = 0x80;
    assert!(matches!(
        ErrorPayload::decode(&bytes).unwrap_err().problem,
        Problem::OverLimit { .. }
    ));
}
