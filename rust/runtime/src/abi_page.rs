//! docs/ABI.md against the code: its tables are normative, so they must be true.

use crate::builtin::{Builtins, id};
use crate::graph::{form, tag};
use crate::table::lookup;

const PAGE: &str = include_str!("../../../docs/ABI.md");

/// The cells of every table row under a heading, up to the next heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let start = PAGE
        .find(&format!("\n## {heading}\n"))
        .expect("the heading is there")
        + 4;
    let section = &PAGE[start..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let cells = |line: &'static str| {
        line.trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`'))
            .collect()
    };
    section
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .collect()
}

#[test]
fn the_builtin_types_have_these_numbers() {
    let mut found: Vec<(u16, &str)> = rows("Builtin types")
        .iter()
        .flat_map(|row| {
            row.chunks(2)
                .filter_map(|pair| Some((pair[0].trim_matches('|').trim().parse().ok()?, pair[1])))
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found.len(), usize::from(id::LAST_PUBLIC));
    for (number, name) in found {
        assert_eq!(
            &*Builtins::get().cell(number).record().name,
            name.trim_matches('`')
        );
    }
}

#[test]
fn the_symbols_are_offered() {
    let names: Vec<_> = rows("Symbols")
        .iter()
        .map(|row| row[0].trim_start_matches('|').trim().trim_matches('`'))
        .collect();
    let own: Vec<_> = names
        .into_iter()
        .filter(|name| name.starts_with("bc_"))
        .collect();
    assert!(own.len() >= 12);
    for name in &own {
        assert!(lookup(name).is_some(), "{name}");
    }
    let table = crate::table::symbols()
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.starts_with("bc_"));
    for name in table {
        assert!(own.contains(&name), "{name} is not in docs/ABI.md");
    }
}

/// The rows that begin with a number, with the name that follows it.
fn numbered(heading: &str) -> Vec<(u8, &'static str)> {
    rows(heading)
        .iter()
        .filter_map(|row| Some((row[0].trim_matches('|').trim().parse().ok()?, row[1])))
        .collect()
}

#[test]
fn the_forms_of_arrays_are_these() {
    let expected = [
        (form::BYTES, "BYTES"),
        (form::REFERENCES, "REFERENCES"),
        (form::LEFT_OUT, "LEFT_OUT"),
        (form::TAIL, "TAIL"),
        (form::INLINE, "INLINE"),
    ];
    assert_eq!(numbered("Elements of arrays in a graph"), expected);
}

#[test]
fn the_tags_are_these() {
    let numbers = numbered("The graph");
    let expected = [
        (tag::UNDEF, "UNDEF"),
        (tag::OBJECT, "OBJECT"),
        (tag::BACKREF, "BACKREF"),
        (tag::STRUCT, "STRUCT"),
        (tag::ARRAY, "ARRAY"),
        (tag::STRING, "STRING"),
        (tag::SYMBOL, "SYMBOL"),
        (tag::BUILTIN, "BUILTIN"),
        (tag::TYPE, "TYPE"),
        (tag::INTS, "INTS"),
        (tag::OPAQUE, "OPAQUE"),
        (tag::SVEC, "SVEC"),
        (tag::DEFERRED, "DEFERRED"),
        (tag::LONG_STRING, "LONG_STRING"),
        (tag::BIG_INT, "BIG_INT"),
        (tag::BIG_FLOAT, "BIG_FLOAT"),
        (tag::TUPLE, "TUPLE"),
    ];
    assert_eq!(numbers, expected);
}
