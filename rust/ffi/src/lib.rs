//! libbitcode: the C ABI of the calling side.
