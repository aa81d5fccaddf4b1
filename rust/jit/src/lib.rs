//! Images made into verified, linked, optimised machine code.
