//! A manifest's objects in the runtime's words.

use crate::error::JitError;
use bitcode_runtime::constant::{Constants, Description, FieldDescription};
use bitcode_runtime::types::{FieldKind, TypeDescription};
use bitcode_wire::manifest::{self, Field, Object, TypeObject};

/// Builds the objects that an image refers to.
pub(crate) fn build(objects: &[Object<'_>]) -> Result<Constants, JitError> {
    let descriptions: Vec<_> = objects.iter().map(describe).collect();
    Constants::build(&descriptions).map_err(JitError::Objects)
}

fn describe<'a>(object: &'a Object<'a>) -> Description<'a> {
    match object {
        Object::Type(ty) => describe_type(ty),
        Object::Instance { ty } => Description::Instance(*ty),
        Object::Symbol(name) => Description::Symbol(name),
        Object::String(bytes) => Description::String(bytes),
        Object::Data(data) => Description::Data {
            ty: data.ty,
            bytes: data.bytes,
            references: data
                .relocations
                .iter()
                .filter_map(|slot| Some((slot.offset, slot.target?)))
                .collect(),
        },
        Object::Array(array) => Description::Array {
            ty: array.ty,
            dims: &array.dims,
            bytes: array.bytes,
            references: array.references.clone(),
        },
        Object::Slot(to) => Description::Slot(*to),
        Object::Opaque { name, id } => Description::Opaque { name, id: *id },
    }
}

fn describe_type<'a>(ty: &'a TypeObject<'a>) -> Description<'a> {
    Description::Type {
        ty: TypeDescription {
            name: ty.name,
            flags: ty.flags.0,
            size: ty.size,
            align: ty.align,
            pointers: &ty.pointers,
            element: ty.element,
            element_flags: ty.element_flags.0,
            ndims: ty.ndims,
            hash: ty.hash,
        },
        parent: ty.parent,
        element: ty.element_type,
        fields: ty.fields.iter().map(describe_field).collect(),
    }
}

fn describe_field(field: &Field) -> FieldDescription {
    let kind = match field.kind {
        manifest::FieldKind::Inline => FieldKind::Inline,
        manifest::FieldKind::Reference => FieldKind::Reference,
        manifest::FieldKind::Union => FieldKind::Union,
    };
    FieldDescription {
        offset: field.offset,
        size: field.size,
        kind,
        ty: field.ty,
    }
}
