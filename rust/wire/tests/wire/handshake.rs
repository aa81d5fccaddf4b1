//! The control channel's messages, and why two sides do not fit.

use super::sample;
use bitcode_wire::codec::Problem;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::handshake::{
    Answer, Hello, MAX_ABIS, MAX_ADDRESS_BYTES, MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, Mismatch,
    PREAMBLE_LEN, Preamble, PreambleFlags, Refusal, VERSION, Welcome,
};

fn preamble(min_version: u16, max_version: u16, key: bool) -> Preamble {
    Preamble {
        min_version,
        max_version,
        ..Preamble::ours(key)
    }
}

#[test]
fn the_preamble_is_nine_bytes() {
    let bytes = sample::future_preamble().encode();
    assert_eq!(bytes, [b'B', b'C', b'T', b'L', 1, 0, 3, 2, 0x81]);
    assert_eq!(bytes.len(), PREAMBLE_LEN);
    assert_eq!(Preamble::decode(&bytes), Ok(sample::future_preamble()));
}

#[test]
fn unknown_preamble_flags_are_kept_and_ignored() {
    let future = Preamble {
        flags: PreambleFlags(0xFF),
        ..Preamble::ours(true)
    };
    assert_eq!(
        Preamble::decode(&future.encode()).unwrap().flags,
        PreambleFlags(0xFF)
    );
    assert_eq!(Preamble::ours(true).agree(&future), Ok(VERSION));
}

#[test]
fn refuses_what_is_no_preamble() {
    let error = Preamble::decode(b"GET / HTT").unwrap_err();
    assert_eq!(
        error.to_string(),
        "preamble: `magic` at byte 0: wrong magic number"
    );
    let backwards = preamble(3, 2, false).encode();
    assert!(matches!(
        Preamble::decode(&backwards).unwrap_err().problem,
        Problem::Rule(_)
    ));
}

#[test]
fn sides_agree_on_the_newest_common_version() {
    assert_eq!(preamble(1, 4, false).agree(&preamble(2, 3, false)), Ok(3));
    assert_eq!(preamble(2, 2, true).agree(&preamble(1, 5, true)), Ok(2));
}

#[test]
fn each_side_learns_why_they_do_not_fit() {
    let (old, new) = (preamble(1, 2, true), preamble(3, 4, false));
    let wanted = Mismatch::Version {
        our_min: 1,
        our_max: 2,
        their_min: 3,
        their_max: 4,
    };
    assert_eq!(
        old.agree(&new),
        Err(wanted),
        "versions are told before keys"
    );
    let text = new.agree(&old).unwrap_err().to_string();
    assert!(text.contains("1 to 2") && text.contains("3 to 4"), "{text}");
    let (keyed, bare) = (Preamble::ours(true), Preamble::ours(false));
    assert_eq!(keyed.agree(&bare), Err(Mismatch::TheyLackKey));
    assert_eq!(bare.agree(&keyed), Err(Mismatch::WeLackKey));
    assert_eq!(bare.agree(&bare), Ok(VERSION));
}

#[test]
fn messages_are_not_taken_for_each_other() {
    let hello = sample::hello().encode().unwrap();
    let welcome = sample::welcome().encode().unwrap();
    assert!(matches!(
        Hello::decode(&welcome).unwrap_err().problem,
        Problem::Rule(_)
    ));
    assert_eq!(
        Answer::decode(&hello).unwrap_err().problem,
        Problem::UnknownTag(1)
    );
    assert_eq!(
        Answer::decode(&[0]).unwrap_err().problem,
        Problem::UnknownTag(0)
    );
    assert_eq!(
        Answer::decode(&[]).unwrap_err().problem,
        Problem::Short { wanted: 1, left: 0 }
    );
}

#[test]
fn refuses_an_unknown_role() {
    let mut bytes = sample::hello().encode().unwrap();
    // message, version's length and text, then the role.
    let at = 1 + 4 + sample::hello().version.len();
    assert_eq!(bytes[at], 1);
    bytes[at] = 2;
    let error = Hello::decode(&bytes).unwrap_err();
    assert_eq!(
        (error.field, error.offset, error.problem),
        ("role", at, Problem::UnknownTag(2))
    );
}

#[test]
fn refuses_text_that_is_not_utf8() {
    let mut bytes = sample::hello().encode().unwrap();
    bytes[5] = 0xC0;
    let error = Hello::decode(&bytes).unwrap_err();
    assert_eq!((error.field, error.problem), ("version", Problem::NotUtf8));
}

#[test]
fn limits_hold_both_ways() {
    let long_text = Hello {
        hostname: "x".repeat(MAX_TEXT_BYTES + 1),
        ..sample::hello()
    };
    assert_eq!(long_text.encode().unwrap_err().field, "hostname");
    let long_address = Hello {
        worker_address: vec![0; MAX_ADDRESS_BYTES + 1],
        ..sample::hello()
    };
    assert_eq!(long_address.encode().unwrap_err().field, "worker_address");
    let largest = Hello {
        worker_address: vec![0; MAX_ADDRESS_BYTES],
        hostname: "x".repeat(MAX_TEXT_BYTES),
        ..sample::hello()
    };
    assert_eq!(Hello::decode(&largest.encode().unwrap()), Ok(largest));

    let abis = Welcome {
        abis: vec![String::new(); MAX_ABIS + 1],
        ..Welcome::default()
    };
    assert_eq!(
        Answer::Welcome(Box::new(abis)).encode().unwrap_err().field,
        "abis"
    );
    let all = Welcome {
        abis: vec!["x".repeat(MAX_TEXT_BYTES); 9],
        ..Welcome::default()
    };
    let error = Answer::Welcome(Box::new(all)).encode().unwrap_err();
    assert_eq!(
        (error.field, error.limit),
        ("length", MAX_MESSAGE_BYTES as u64)
    );
    assert!(matches!(
        Answer::decode(&vec![2; MAX_MESSAGE_BYTES + 1])
            .unwrap_err()
            .problem,
        Problem::OverLimit { .. }
    ));
}

#[test]
fn a_refusal_is_a_sentence_and_always_fits() {
    let refusal = Refusal {
        code: ErrorCode::UNSUPPORTED,
        message: "x".repeat(MAX_MESSAGE_BYTES),
    };
    let bytes = Answer::Refused(refusal).encode().unwrap();
    let Ok(Answer::Refused(seen)) = Answer::decode(&bytes) else {
        panic!("a refusal did not come back")
    };
    assert_eq!(seen.message.len(), ErrorPayload::MAX_MESSAGE);
    assert!(seen.to_string().starts_with("UNSUPPORTED: xxx"));
}
