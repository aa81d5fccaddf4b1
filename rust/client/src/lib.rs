//! The calling side: sessions, pending calls, futures.
