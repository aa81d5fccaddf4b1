//! UCX declarations from the system's headers.
