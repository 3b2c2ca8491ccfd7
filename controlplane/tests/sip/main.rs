//! SIP messages against the corpus (`tests/corpus/sip`), against other parsers, and against chance.

mod corpus;
mod mutations;
mod oracles;
mod properties;
