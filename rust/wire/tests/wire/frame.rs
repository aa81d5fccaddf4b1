//! The header: layout, what it refuses, and what its tag covers.

use super::sample;
use bitcode_wire::code::CodePrefix;
use bitcode_wire::codec::Problem;
use bitcode_wire::frame::{
    Directory, Flags, FrameError, HEADER_LEN, Header, Kind, LAYOUT, OUTPUT_WINDOW, OutputPayload,
    OutputTaken, Payloads, SegmentGone, SegmentGrant, SegmentRequest, SessionKey, SessionKeys,
    StageTimings, Step, Steps, TrailRequest, View,
};

fn encoded() -> [u8; HEADER_LEN] {
    sample::cold_call().encode(&sample::keys().to_node, sample::COLD_BODY)
}

/// A good CALL without an archive, with one byte changed.
fn with_byte(at: usize, value: u8) -> [u8; HEADER_LEN] {
    let mut bytes = Header::new(Kind::Call).encode(&sample::keys().to_node, 0);
    bytes[at] = value;
    bytes
}

#[test]
fn layout_has_no_gaps_and_ends_with_the_header() {
    let mut next = 0;
    for field in LAYOUT {
        assert_eq!(field.offset, next, "{}", field.name);
        next += field.size;
    }
    assert_eq!(next, HEADER_LEN);
}

#[test]
fn fields_stand_where_the_contract_says() {
    let bytes = encoded();
    assert_eq!(bytes[0..2], [0x7C, 0xB1]);
    assert_eq!(bytes[2..4], [1, 1]);
    assert_eq!(bytes[4..6], [3, 0]);
    assert_eq!(bytes[6..8], [0x02, 0x01]);
    assert_eq!(bytes[8..12], [0x06, 0x05, 0x04, 0x03]);
    assert_eq!(bytes[12..16], [0x0A, 0x09, 0x08, 0x07]);
    assert_eq!(
        bytes[16..24],
        [0x12, 0x11, 0x10, 0x0F, 0x0E, 0x0D, 0x0C, 0x0B]
    );
    assert_eq!(bytes[24..40], sample::cold_call().code.0);
    assert_eq!(bytes[40..44], [0x13, 0, 0, 0]);
    assert_eq!(bytes[44..48], [0x17, 0x16, 0x15, 0x14]);
    assert_eq!(bytes[48..52], [0x1B, 0x1A, 0x19, 0x18]);
    assert_eq!(bytes[52..54], [0x1D, 0x1C]);
    assert_eq!(bytes[54..56], [0, 0]);
}

#[test]
fn every_kind_comes_back() {
    for kind in Kind::ALL {
        let bytes = Header::new(kind).encode(&sample::keys().to_origin, 5);
        assert_eq!(Header::decode(&bytes), Ok(Header::new(kind)));
        assert_eq!(Kind::try_from(kind as u8), Ok(kind));
    }
}

#[test]
fn refuses_another_length() {
    let bytes = encoded();
    assert_eq!(Header::decode(&[]), Err(FrameError::Length(0)));
    assert_eq!(Header::decode(&bytes[..63]), Err(FrameError::Length(63)));
    let mut long = bytes.to_vec();
    long.push(0);
    assert_eq!(Header::decode(&long), Err(FrameError::Length(65)));
}

#[test]
fn refuses_what_it_does_not_know() {
    assert_eq!(
        Header::decode(&with_byte(0, 0)),
        Err(FrameError::Magic(0xB100))
    );
    assert_eq!(
        Header::decode(&with_byte(2, 2)),
        Err(FrameError::Version(2))
    );
    assert_eq!(Header::decode(&with_byte(3, 0)), Err(FrameError::Kind(0)));
    assert_eq!(Header::decode(&with_byte(3, 15)), Err(FrameError::Kind(15)));
    assert_eq!(
        Header::decode(&with_byte(4, 16)),
        Err(FrameError::Flags(16))
    );
    assert_eq!(
        Header::decode(&with_byte(5, 0x80)),
        Err(FrameError::Flags(0x8000))
    );
    assert_eq!(Header::decode(&with_byte(54, 1)), Err(FrameError::Entry(1)));
    assert_eq!(
        Header::decode(&with_byte(55, 1)),
        Err(FrameError::Entry(0x100))
    );
}

/// Whether a header of these three is taken.
fn taken(kind: Kind, flags: Flags, archive_len: u32) -> bool {
    let header = Header {
        flags,
        archive_len,
        ..Header::new(kind)
    };
    match Header::decode(&header.encode(&sample::keys().to_node, 1 << 40)) {
        Ok(seen) => seen == header,
        Err(error) => {
            assert_eq!(
                error,
                FrameError::Archive {
                    kind,
                    flags: flags.0,
                    len: archive_len
                }
            );
            false
        }
    }
}

#[test]
fn what_follows_the_payload_is_announced_and_fits_the_kind() {
    let timed = StageTimings::LEN as u32;
    for kind in Kind::ALL {
        let call = matches!(kind, Kind::Call | Kind::Hop);
        let reply = matches!(kind, Kind::Value | Kind::Throw | Kind::Error);
        assert!(taken(kind, Flags::NO_REPLY, 0));
        assert!(!taken(kind, Flags::NONE, timed));
        assert!(!taken(kind, Flags::HAS_ARCHIVE, 0));
        assert_eq!(taken(kind, Flags::HAS_ARCHIVE, u32::MAX), call);
        assert_eq!(taken(kind, Flags::TIMED, timed), reply);
        assert!(!taken(kind, Flags::TIMED, timed - 4));
        assert!(!taken(kind, Flags::TIMED, 0));
        assert!(!taken(kind, Flags::TIMED.with(Flags::HAS_ARCHIVE), timed));
    }
}

#[test]
fn only_calls_ask_to_be_shown_code() {
    for kind in Kind::ALL {
        let header = Header {
            flags: Flags::SHOW,
            ..Header::new(kind)
        };
        let seen = Header::decode(&header.encode(&sample::keys().to_node, 1));
        match kind {
            Kind::Call => assert_eq!(seen, Ok(header)),
            _ => assert_eq!(seen, Err(FrameError::Flags(Flags::SHOW.0))),
        }
    }
    for payload in [&[][..], &[0], &[3], &[1, 1]] {
        assert_eq!(View::decode(payload), None);
    }
}

#[test]
fn only_hops_are_asked_for_by_code_that_waits() {
    let decoded = |kind, flags| {
        let header = Header {
            flags,
            ..Header::new(kind)
        };
        let seen = Header::decode(&header.encode(&sample::keys().to_node, 8));
        seen.map(|seen| assert_eq!(seen, header))
    };
    let both = Flags::ASKED.with(Flags::NO_REPLY);
    for kind in Kind::ALL {
        let expected = match kind {
            Kind::Hop | Kind::NeedCode => Ok(()),
            _ => Err(FrameError::Flags(Flags::ASKED.0)),
        };
        assert_eq!(decoded(kind, Flags::ASKED), expected);
        assert_eq!(decoded(kind, both), Err(FrameError::Flags(both.0)));
    }
}

#[test]
fn only_calls_without_an_answer_are_many() {
    for kind in Kind::ALL {
        for (flags, fit) in [
            (Flags::MANY, false),
            (Flags::MANY.with(Flags::NO_REPLY), kind == Kind::Call),
            (Flags::MANY.with(Flags::NO_REPLY).with(Flags::SHOW), false),
        ] {
            let header = Header {
                flags,
                ..Header::new(kind)
            };
            let seen = Header::decode(&header.encode(&sample::keys().to_node, 1));
            let expected = if fit {
                Ok(header)
            } else {
                Err(FrameError::Flags(flags.0))
            };
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn payloads_of_many_calls_have_one_spelling() {
    let bytes = sample::payloads();
    let places = Payloads::places(&bytes).unwrap();
    assert_eq!(places, [0..5, 64..64, 64..192, 192..193]);
    let field = |bytes: &[u8]| Payloads::places(bytes).unwrap_err().field;
    for padding in [5, 63, 193, 255] {
        let mut changed = bytes.clone();
        changed[padding] = 1;
        assert_eq!(field(&changed), "lengths");
    }
    let lengths = bytes.len() - 20;
    for (at, value) in [
        (lengths, 65),
        (lengths + 3, 0xFF),
        (lengths + 8, 0),
        (lengths + 16, 3),
    ] {
        let mut changed = bytes.clone();
        changed[at] = value;
        assert_eq!(field(&changed), "lengths", "{at}");
    }
    for (at, value) in [(lengths + 16, 0), (lengths + 17, 5), (lengths + 19, 1)] {
        let mut changed = bytes.clone();
        changed[at] = value;
        assert_eq!(field(&changed), "count", "{at}");
    }
}

#[test]
fn timings_refuse_another_length_and_a_later_version() {
    let mut bytes = sample::timings().encode().to_vec();
    assert!(StageTimings::decode(&bytes[..31]).is_err());
    bytes[28] = 1;
    let error = StageTimings::decode(&bytes).unwrap_err();
    assert_eq!((error.field, error.offset), ("reserved", 28));
    bytes[28] = 0;
    bytes.push(0);
    assert_eq!(
        StageTimings::decode(&bytes).unwrap_err().problem,
        Problem::Trailing(1)
    );
}

#[test]
fn output_refuses_what_it_does_not_know() {
    let bytes = sample::output().encode();
    let refused = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        let error = OutputPayload::decode(&changed).unwrap_err();
        (error.field, error.offset)
    };
    assert_eq!(refused(8, 0), ("stream", 8));
    assert_eq!(refused(8, 3), ("stream", 8));
    assert_eq!(refused(9, 2), ("open", 9));
    assert_eq!(refused(15, 1), ("reserved", 10));
    assert!(OutputPayload::decode(&bytes[..15]).is_err());
    let text = vec![b'x'; OutputPayload::MAX_TEXT + 1];
    let piece = OutputPayload {
        text: &text,
        ..sample::output()
    };
    assert!(OutputPayload::decode(&piece.encode()).is_err());
    let longest = OutputPayload {
        text: &text[1..],
        ..piece
    };
    assert_eq!(OutputPayload::decode(&longest.encode()), Ok(longest));
    // Its text has no length of its own, so that the hostile tests of other messages do not fit it.
    for end in 0..bytes.len() {
        assert_eq!(crate::bodies::output(&bytes[..end]), end >= 16, "{end}");
    }
}

#[test]
fn the_window_holds_the_longest_piece_often() {
    let most = OutputPayload::OVERHEAD + OutputPayload::MAX_TEXT as u64;
    assert!(most * 16 <= OUTPUT_WINDOW);
    let taken = OutputTaken { position: 77 };
    assert_eq!(OutputTaken::decode(&taken.encode()), Ok(taken));
    assert!(OutputTaken::decode(&[0; 7]).is_err());
    assert!(OutputTaken::decode(&[0; 9]).is_err());
}

#[test]
fn segment_payloads_come_back_and_refuse_what_they_do_not_know() {
    let requests = [
        SegmentRequest::Alloc { bytes: 1 << 40 },
        SegmentRequest::Attach { segment: u64::MAX },
        SegmentRequest::Detach { segment: 0 },
        SegmentRequest::Free { segment: 7 },
    ];
    for (request, number) in requests.into_iter().zip(1..) {
        let mut bytes = request.encode();
        assert_eq!(bytes[0], number);
        assert_eq!(SegmentRequest::decode(&bytes), Ok(request));
        assert!(SegmentRequest::decode(&bytes[..15]).is_err());
        assert!(SegmentRequest::decode(&[&bytes[..], &[0]].concat()).is_err());
        bytes[7] = 1;
        let error = SegmentRequest::decode(&bytes).unwrap_err();
        assert_eq!((error.field, error.offset), ("reserved", 1));
    }
    for unknown in [0, 5, 255] {
        let mut bytes = requests[0].encode();
        bytes[0] = unknown;
        let error = SegmentRequest::decode(&bytes).unwrap_err();
        assert_eq!((error.field, error.offset), ("operation", 0));
    }
    let grant = SegmentGrant {
        segment: 5,
        len: 6,
        key: b"key",
    };
    let bytes = grant.encode().unwrap();
    assert_eq!(SegmentGrant::decode(&bytes), Ok(grant));
    assert!(crate::bodies::segment(&bytes));
    for end in 0..bytes.len() {
        assert!(SegmentGrant::decode(&bytes[..end]).is_err());
    }
    let too_long = vec![0; SegmentGrant::MAX_KEY + 1];
    let key = &too_long[..];
    assert!(SegmentGrant { key, ..grant }.encode().is_err());
    let gone = SegmentGone { segment: 9 };
    assert_eq!(SegmentGone::decode(&gone.encode()), Ok(gone));
    assert!(SegmentGone::decode(&[0; 7]).is_err());
}

#[test]
fn any_changed_bit_fails_the_tag() {
    let key = sample::keys().to_node;
    let bytes = encoded();
    let header = sample::cold_call();
    assert_eq!(header.verify(&bytes, &key, sample::COLD_BODY), Ok(()));
    for bit in 0..HEADER_LEN * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            header.verify(&changed, &key, sample::COLD_BODY),
            Err(FrameError::Tag),
            "bit {bit}"
        );
    }
}

#[test]
fn another_key_direction_or_length_fails_the_tag() {
    let bytes = encoded();
    let header = sample::cold_call();
    let other = SessionKeys::derive(b"another secret").to_node;
    assert_eq!(
        header.verify(&bytes, &other, sample::COLD_BODY),
        Err(FrameError::Tag)
    );
    assert_eq!(
        header.verify(&bytes, &sample::keys().to_origin, sample::COLD_BODY),
        Err(FrameError::Tag)
    );
    for body in [0, sample::COLD_BODY - 1, sample::COLD_BODY + 1] {
        assert_eq!(
            header.verify(&bytes, &sample::keys().to_node, body),
            Err(FrameError::Tag)
        );
    }
}

#[test]
fn an_archive_longer_than_the_body_is_refused_after_the_tag() {
    let key = sample::keys().to_node;
    let header = sample::cold_call();
    let short = header.archive_len as usize - 1;
    let bytes = header.encode(&key, short);
    assert_eq!(
        header.verify(&bytes, &key, short),
        Err(FrameError::Body {
            archive: header.archive_len,
            body: short
        })
    );
    assert!(header.split(&vec![0; short]).is_err());
}

#[test]
fn the_archive_is_last_in_the_body() {
    let header = Header {
        flags: Flags::HAS_ARCHIVE,
        archive_len: 3,
        ..Header::new(Kind::Call)
    };
    assert_eq!(
        header.split(b"payloadarc"),
        Ok((&b"payload"[..], &b"arc"[..]))
    );
    assert_eq!(header.split(b"arc"), Ok((&b""[..], &b"arc"[..])));
    assert_eq!(
        Header::new(Kind::Value).split(b"all"),
        Ok((&b"all"[..], &b""[..]))
    );
}

/// The warm path: a header is made, read and checked without touching the heap.
#[test]
fn allocates_nothing() {
    let key = sample::keys().to_node;
    let used = allocation_counter::measure(|| {
        let bytes = sample::value().encode(&key, 8);
        let header = Header::decode(&bytes).expect("own header");
        header.verify(&bytes, &key, 8).expect("own tag");
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn keys_do_not_print_themselves() {
    let key = SessionKey::new([0xAB; 16]);
    assert_eq!(format!("{key:?}"), "SessionKey(..)");
    assert!(!format!("{:?}", sample::keys()).contains(|c: char| c.is_ascii_digit()));
}

#[test]
fn the_two_directions_have_different_keys() {
    let keys = sample::keys();
    assert_ne!(keys.to_node, keys.to_origin);
    assert_eq!(keys, SessionKeys::derive(sample::SECRET));
    assert_ne!(keys, SessionKeys::derive(b""));
}

#[test]
fn prefixes_belong_to_their_code() {
    assert!(!CodePrefix::NONE.matches(&bitcode_wire::code::CodeId::of(b"")));
    assert_eq!(CodePrefix::default(), CodePrefix::NONE);
}

#[test]
fn only_a_hop_names_an_entry() {
    for kind in Kind::ALL {
        let header = Header {
            entry: 3,
            ..Header::new(kind)
        };
        let seen = Header::decode(&header.encode(&sample::keys().to_node, 0));
        match kind {
            Kind::Hop | Kind::NeedCode => assert_eq!(seen, Ok(header)),
            _ => assert_eq!(seen, Err(FrameError::Entry(3))),
        }
    }
}

#[test]
fn a_trail_keeps_its_bounds() {
    let steps = |count| -> Vec<_> {
        let step = |at| Step {
            hops_left: u32::MAX - at,
            to: at,
        };
        (0..count).map(step).collect()
    };
    let most = Steps::MAX as u32;
    for count in [0, 1, most] {
        let bytes = Steps::encode(&steps(count)).unwrap();
        assert_eq!(Steps::decode(&bytes), Ok(steps(count)));
    }
    assert!(Steps::encode(&steps(most + 1)).is_err());
    let bytes = Steps::encode(&steps(3)).unwrap();
    for end in 0..bytes.len() {
        assert!(Steps::decode(&bytes[..end]).is_err());
    }
    let request = TrailRequest {
        call: 0x0123_4567_89AB_CDEF,
    };
    assert_eq!(TrailRequest::decode(&request.encode()), Ok(request));
    assert!(TrailRequest::decode(&[0; 7]).is_err());
    assert!(TrailRequest::decode(&[0; 9]).is_err());
}

#[test]
fn a_directory_has_its_receiver_among_its_nodes_and_keeps_its_bounds() {
    let directory = |here, count| Directory {
        here,
        nodes: vec!["host:1".into(); count],
    };
    let read = |directory: &Directory| Directory::decode(&directory.encode().unwrap());
    assert_eq!(read(&directory(2, 2)), Ok(directory(2, 2)));
    for here in [0, 3, u32::MAX] {
        let error = read(&directory(here, 2)).unwrap_err();
        assert_eq!((error.field, error.offset), ("here", 0));
    }
    assert!(read(&directory(1, Directory::MAX_NODES)).is_ok());
    assert!(directory(1, Directory::MAX_NODES + 1).encode().is_err());
    let long = Directory {
        here: 1,
        nodes: vec!["x".repeat(Directory::MAX_PLACE_BYTES + 1)],
    };
    assert!(long.encode().is_err());
    let mut bytes = directory(1, 1).encode().unwrap();
    bytes.push(0);
    let error = Directory::decode(&bytes).unwrap_err();
    assert_eq!(error.problem, Problem::Trailing(1));
}
