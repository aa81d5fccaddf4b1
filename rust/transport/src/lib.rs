//! UCX and the control channel made safe.
