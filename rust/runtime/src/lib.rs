//! Julia semantics without Julia, as a table of symbols.
