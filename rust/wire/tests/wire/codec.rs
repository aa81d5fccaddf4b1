//! The bounded reader and writer by themselves.

use bitcode_wire::codec::{Problem, Reader, Writer};

#[test]
fn reads_what_was_written() {
    let mut writer = Writer::new("all");
    assert!(writer.is_empty());
    writer.u8(1);
    writer.u16(0x0203);
    writer.u32(0x0405_0607);
    writer.u64(0x0809_0A0B_0C0D_0E0F);
    writer.bytes("bytes", &[1, 2], 2);
    writer.str("text", "é", 2);
    writer.list("list", &[7_u16, 8], 2, |w, item| w.u16(*item));
    writer.nested("inner", 3, |w| w.raw(&[1, 2, 3]));
    let bytes = writer.finish().unwrap();

    let mut reader = Reader::new("all", &bytes);
    assert_eq!(reader.u8("a"), Ok(1));
    assert_eq!(reader.u16("b"), Ok(0x0203));
    assert_eq!(reader.u32("c"), Ok(0x0405_0607));
    assert_eq!(reader.u64("d"), Ok(0x0809_0A0B_0C0D_0E0F));
    assert_eq!(reader.bytes("bytes", 2), Ok(&[1, 2][..]));
    assert_eq!(reader.str("text", 2), Ok("é"));
    assert_eq!(reader.list("list", 2, 2, |r| r.u16("item")), Ok(vec![7, 8]));
    let mut inner = reader.nested("inner", 3).unwrap();
    assert_eq!(inner.take("all of it", 3), Ok(&[1, 2, 3][..]));
    inner.finish().unwrap();
    assert_eq!(reader.offset(), bytes.len());
    reader.finish().unwrap();
}

#[test]
fn errors_name_type_field_and_offset() {
    let mut reader = Reader::new("thing", &[0, 0, 9]);
    reader.u16("first").unwrap();
    let error = reader.u32("second").unwrap_err();
    assert_eq!(
        (error.what, error.field, error.offset),
        ("thing", "second", 2)
    );
    assert_eq!(
        error.to_string(),
        "thing: `second` at byte 2: needs 4 bytes, 1 are left"
    );
}

#[test]
fn a_failed_take_leaves_the_reader_where_it_was() {
    let mut reader = Reader::new("thing", &[1, 2]);
    assert!(reader.take("all", 3).is_err());
    assert_eq!((reader.offset(), reader.left()), (0, 2));
    assert_eq!(reader.u16("all"), Ok(0x0201));
}

#[test]
fn nested_readers_cannot_see_past_their_length() {
    let bytes = [2, 0, 0, 0, 1, 2, 3, 4];
    let mut reader = Reader::new("outer", &bytes);
    let mut inner = reader.nested("inner", 10).unwrap();
    assert_eq!(inner.offset(), 4, "offsets count from the outermost buffer");
    assert_eq!(
        inner.u32("word").unwrap_err().problem,
        Problem::Short { wanted: 4, left: 2 }
    );
    assert_eq!(inner.finish().unwrap_err().problem, Problem::Trailing(2));
    assert_eq!(reader.u16("rest"), Ok(0x0403));
}

#[test]
fn limits_are_checked_before_the_bytes() {
    let bytes = [0xFF; 4];
    let over = Problem::OverLimit {
        found: u32::MAX.into(),
        limit: 10,
    };
    let error = Reader::new("thing", &bytes).bytes("blob", 10).unwrap_err();
    assert_eq!((error.problem, error.offset), (over, 0));
    assert_eq!(
        Reader::new("thing", &bytes)
            .count("items", 1, 10)
            .unwrap_err()
            .problem,
        over
    );
    let short = Problem::Short {
        wanted: u64::from(u32::MAX) * 8,
        left: 0,
    };
    assert_eq!(
        Reader::new("thing", &bytes)
            .count("items", 8, usize::MAX)
            .unwrap_err()
            .problem,
        short
    );
}

#[test]
fn refuses_text_that_is_not_utf8() {
    let error = Reader::new("thing", &[2, 0, 0, 0, 0xC3, 0x28])
        .str("name", 10)
        .unwrap_err();
    assert_eq!((error.problem, error.offset), (Problem::NotUtf8, 0));
}

#[test]
fn the_writer_reports_the_first_field_over_its_limit() {
    let mut writer = Writer::new("thing");
    writer.str("fits", "ab", 2);
    writer.str("name", "abc", 2);
    writer.list("items", &[1, 2], 1, |w, item| w.u8(*item));
    let error = writer.finish().unwrap_err();
    assert_eq!((error.field, error.found, error.limit), ("name", 3, 2));
    assert_eq!(error.to_string(), "thing: `name` has 3, the limit is 2");

    let mut writer = Writer::new("thing");
    writer.nested("inner", 1, |w| w.u16(0));
    assert_eq!(writer.finish().unwrap_err().field, "inner");
}

#[test]
fn every_problem_is_a_sentence() {
    let problems = [
        Problem::Short { wanted: 4, left: 1 },
        Problem::Trailing(3),
        Problem::UnknownTag(9),
        Problem::UnknownBits(0x10),
        Problem::OverLimit {
            found: 11,
            limit: 10,
        },
        Problem::NotUtf8,
        Problem::WrongMagic,
        Problem::WrongVersion { found: 2, ours: 1 },
        Problem::Rule("no rule"),
    ];
    for problem in problems {
        assert!(problem.to_string().contains(' '), "{problem:?}");
    }
    assert!(
        Problem::WrongVersion { found: 2, ours: 1 }
            .to_string()
            .contains("version 2")
    );
}
