//! The node: receives, links, keeps and runs shipped code.
