//! The byte tables in the documents are those of the code.
