//! SIP messages against the corpus (`tests/corpus/sip`) and against other parsers.

mod corpus;
mod oracles;
mod properties;
