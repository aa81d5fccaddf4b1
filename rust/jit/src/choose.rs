//! Which image of an archive a machine takes.
//!
//! Native code for this very processor; else native code that it can run, the more of its features the better; else bitcode
//! of its architecture. Among equals the sender's order decides. Targets are compared by what they mean, not by how
//! they are spelled.

use crate::error::JitError;
use crate::target::Target;
use bitcode_wire::archive::{Image, ImageKind};
use std::cmp::Reverse;

/// The best image for `target`, which has the features `has`; `objects_only` if nothing could compile bitcode there.
pub(crate) fn choose<'i>(
    images: &'i [Image<'i>],
    target: &Target,
    has: &[&str],
    objects_only: bool,
) -> Result<&'i Image<'i>, JitError> {
    let object = images
        .iter()
        .filter(|image| is_native(image, target))
        .filter(|image| wanted(image).all(|feature| has.contains(&feature)))
        .min_by_key(|image| (image.cpu != target.cpu, Reverse(wanted(image).count())));
    match object {
        Some(image) => Ok(image),
        None if objects_only => Err(no_image(images, target, Some(has), NATIVE)),
        None => bitcode(images, target).ok_or_else(|| {
            no_image(
                images,
                target,
                Some(has),
                "which runs bitcode and native images of its architecture",
            )
        }),
    }
}

/// What a node takes that compiles nothing.
const NATIVE: &str = "which runs native images only";

/// Is this native code for the target's architecture?
pub(crate) fn is_native(image: &Image<'_>, target: &Target) -> bool {
    image.kind == ImageKind::Object && target.is_arch_of(image)
}

/// The first bitcode for this architecture. Bitcode of another one is not taken: what its C calls mean only the origin
/// knows, which makes an image for us.
pub(crate) fn choose_bitcode<'i>(
    images: &'i [Image<'i>],
    target: &Target,
) -> Result<&'i Image<'i>, JitError> {
    bitcode(images, target)
        .ok_or_else(|| no_image(images, target, None, "for which only bitcode serves here"))
}

fn bitcode<'i>(images: &'i [Image<'i>], target: &Target) -> Option<&'i Image<'i>> {
    images
        .iter()
        .find(|image| image.kind == ImageKind::Bitcode && target.is_arch_of(image))
}

/// The features that an image needs: those with a plus.
fn wanted<'i>(image: &Image<'i>) -> impl Iterator<Item = &'i str> + use<'i> {
    let features = image.features.split(',').map(str::trim);
    features.filter_map(|feature| feature.strip_prefix('+'))
}

/// `has` if the images' features matter.
fn no_image(
    images: &[Image<'_>],
    target: &Target,
    has: Option<&[&str]>,
    takes: &'static str,
) -> JitError {
    let found: Vec<_> = images.iter().map(|image| describe(image, has)).collect();
    JitError::NoImage {
        machine: format!("{} ({})", target.triple, target.cpu),
        takes,
        found: if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        },
    }
}

/// What an image is, for people, with what it needs and `has` lacks.
fn describe(image: &Image<'_>, has: Option<&[&str]>) -> String {
    let mut text = format!("{:?} for {}", image.kind, image.triple).to_lowercase();
    if !image.cpu.is_empty() {
        text += &format!(" ({})", image.cpu);
    }
    let Some(has) = has else {
        return text;
    };
    let missing: Vec<_> = wanted(image).filter(|name| !has.contains(name)).collect();
    if let Some(first) = missing.first() {
        text += &format!(", which needs {first}");
        if missing.len() > 1 {
            text += &format!(" and {} more features", missing.len() - 1);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image<'a>(kind: ImageKind, triple: &'a str, cpu: &'a str, features: &'a str) -> Image<'a> {
        Image {
            kind,
            triple,
            cpu,
            features,
            code: &[],
        }
    }

    fn target() -> Target {
        Target {
            triple: "x86_64-pc-linux-gnu".into(),
            cpu: "skylake".into(),
            features: String::new(),
        }
    }

    const HAS: [&str; 3] = ["avx", "avx2", "fma"];

    fn chosen(images: &[Image<'_>], objects_only: bool) -> usize {
        let found = choose(images, &target(), &HAS, objects_only).unwrap();
        images.iter().position(|image| image == found).unwrap()
    }

    #[test]
    fn the_very_processor_wins_then_the_most_features_then_bitcode() {
        use ImageKind::{Bitcode, Object};
        let all = [
            image(Bitcode, "amd64-linux-gnu", "", ""),
            image(Object, "aarch64-linux-gnu", "skylake", ""),
            image(Object, "x86_64-redhat-linux", "x86-64", ""),
            image(Object, "x86_64-linux-gnu", "x86-64-v3", "+avx,+avx2"),
            image(Object, "x86_64-linux-gnu", "x86-64-v4", "+avx,+avx512f"),
            image(Object, "x86_64-linux-gnu", "skylake", "+avx"),
        ];
        assert_eq!(chosen(&all, false), 5);
        assert_eq!(chosen(&all[..5], false), 3);
        assert_eq!(chosen(&all[..3], true), 2);
        assert_eq!(chosen(&all[..2], false), 0);
    }

    #[test]
    fn a_processor_of_that_name_without_the_features_is_another() {
        let masked = [image(
            ImageKind::Object,
            "x86_64-linux-gnu",
            "skylake",
            "+avx,+avx512f,+avx512bw",
        )];
        let error = choose(&masked, &target(), &HAS, true)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("(skylake), which needs avx512f and 1 more features"),
            "{error}"
        );
        assert!(error.contains("native images only"), "{error}");
    }

    #[test]
    fn only_the_features_that_are_missing_are_named() {
        let newer = [image(
            ImageKind::Object,
            "x86_64-linux-gnu",
            "x86-64-v4",
            "+avx,+avx2,+avx512f",
        )];
        let error = choose(&newer, &target(), &HAS, false).unwrap_err();
        assert!(
            error.to_string().ends_with("which needs avx512f"),
            "{error}"
        );
        // To be read as bitcode it has other faults.
        let error = choose_bitcode(&newer, &target()).unwrap_err().to_string();
        assert!(
            !error.contains("needs") && error.contains("bitcode serves"),
            "{error}"
        );
    }

    #[test]
    fn without_an_image_both_sides_are_named() {
        let error = choose(&[], &target(), &HAS, false).unwrap_err().to_string();
        assert!(error.contains("it has none"), "{error}");
        let other = [image(ImageKind::Bitcode, "riscv64-linux-gnu", "", "")];
        let error = choose(&other, &target(), &HAS, false)
            .unwrap_err()
            .to_string();
        for part in [
            "x86_64-pc-linux-gnu (skylake)",
            "bitcode for riscv64-linux-gnu",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
