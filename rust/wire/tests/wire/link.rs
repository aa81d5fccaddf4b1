//! Bundles: archives that go together because one links to the others.

use crate::bodies;
use bitcode_wire::archive::MAGIC;
use bitcode_wire::code::CodeId;
use bitcode_wire::link::{self, Bundle};
use bitcode_wire::manifest::{Dependency, Manifest};

fn bundle() -> Bundle<'static> {
    Bundle {
        archive: b"BCAR: the one that is meant",
        linked: vec![b"BCAR: what it links to", b""],
    }
}

#[test]
fn an_archive_by_itself_is_a_bundle_without_links() {
    let alone = Bundle {
        archive: b"BCAR and so on",
        linked: Vec::new(),
    };
    assert!(alone.archive.starts_with(&MAGIC));
    assert_eq!(alone.encode().unwrap(), alone.archive);
    assert_eq!(Bundle::decode(alone.archive).unwrap(), alone);
}

#[test]
fn a_bundle_that_is_cut_off_or_goes_on_is_refused() {
    let bytes = bundle().encode().unwrap();
    assert_eq!(Bundle::decode(&bytes).unwrap(), bundle());
    assert!(bodies::bundle(&bytes));
    for end in link::MAGIC.len()..bytes.len() {
        assert!(!bodies::bundle(&bytes[..end]), "{end}");
    }
    assert!(Bundle::decode(&[&bytes[..], b"more"].concat()).is_err());
}

#[test]
fn a_bundle_of_one_archive_would_be_a_second_spelling() {
    let mut bytes = bundle().encode().unwrap();
    let archive = 8 + 4 + bundle().archive.len();
    bytes.truncate(archive);
    bytes.extend(0_u32.to_le_bytes());
    let error = Bundle::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("two archives"), "{error}");
}

#[test]
fn links_are_the_dependencies_that_name_code() {
    let id = CodeId::of(b"some code");
    let (soname, symbol) = (link::soname(&id), link::symbol(&id));
    let loud = soname.to_uppercase();
    let short = &soname[..soname.len() - 1];
    let named = |soname| Dependency {
        soname,
        symbols: vec![&symbol],
    };
    let manifest = Manifest {
        dependencies: ["libz.so.1", &loud, short, &soname].map(named).to_vec(),
        ..Manifest::default()
    };
    assert_eq!(manifest.links().collect::<Vec<_>>(), [id]);
    assert_eq!(symbol, format!("bitcode_function.{id}"));
}
