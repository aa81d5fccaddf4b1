//! Bytes of BitCode.jl: codec, frames, archive container, handshake messages.
