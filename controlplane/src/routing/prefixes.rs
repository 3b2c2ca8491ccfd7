//! The prefix table: which prefixes of a number are in it, the longest last.
//!
//! A trie of sixteen symbols (`0` to `9`, `*`, `#`, `a` to `d`), laid out level by level, so that the children of
//! a node stand side by side and a bit for each says which there are:
//!
//! ```text
//!   node   children: 0000 0000 0001 0010   first: 7   value: 3          49, and below it 491 and 494
//!   node 7 (491)    node 8 (494)  …                                     children by the order of their symbols
//! ```
//!
//! A search follows one node a symbol: at most [`Prefix::LONGEST`]. Refuses to know what a prefix leads to.

use std::fmt;

/// The digits of a number, or of its beginning: up to [`Prefix::LONGEST`] symbols.
///
/// Sixteen symbols of four bits each from the top, the length at the bottom: prefixes sort by their
/// symbols, and a prefix before what it is a prefix of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u128);

/// The character that cannot stand in a prefix, counted from 0; or how many there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPrefix {
    /// Where, in characters.
    pub at: usize,
}

const SYMBOLS: &[u8; 16] = b"0123456789*#abcd";
const BITS: usize = 4;
const TOP: usize = 124;

impl Prefix {
    /// Symbols at the most: E.164 allows fifteen digits, and routing codes stand before them.
    pub const LONGEST: usize = 24;

    /// Reads a prefix as a table has it: a leading `+` means nothing.
    ///
    /// # Errors
    /// A character that is no symbol, or too many of them. The empty text is the prefix of everything.
    pub fn parse(text: &str) -> Result<Self, NotAPrefix> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let skipped = text.len() - digits.len();
        let mut prefix = Self(0);
        for (at, letter) in digits.chars().enumerate() {
            let symbol = symbol(letter).filter(|_| at < Self::LONGEST);
            let symbol = symbol.ok_or(NotAPrefix { at: at + skipped })?;
            prefix = prefix.with(symbol);
        }
        Ok(prefix)
    }

    /// As much of the user part of a URI as is a number: a leading `+` and the visual separators of RFC 3966
    /// mean nothing, and anything else ends it.
    pub fn of_user(user: &str) -> Self {
        let mut number = Self(0);
        let digits = user.strip_prefix('+').unwrap_or(user);
        for letter in digits.chars().filter(|letter| !"-.()".contains(*letter)) {
            match symbol(letter) {
                Some(symbol) if number.len() < Self::LONGEST => number = number.with(symbol),
                _ => break,
            }
        }
        number
    }

    /// How many symbols.
    pub const fn len(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// Whether it is the prefix of everything.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The first symbols of it: `len` at the most.
    #[must_use]
    pub fn truncated(self, len: usize) -> Self {
        let mut shorter = Self(0);
        for at in 0..len.min(self.len()) {
            shorter = shorter.with(self.symbol(at));
        }
        shorter
    }

    fn symbol(self, at: usize) -> u8 {
        (self.0 >> (TOP - BITS * at)) as u8 & 0xf
    }

    fn with(self, symbol: u8) -> Self {
        let at = TOP - BITS * self.len();
        Self((self.0 | (u128::from(symbol) << at)) + 1)
    }
}

fn symbol(letter: char) -> Option<u8> {
    let letter = u8::try_from(letter).ok()?.to_ascii_lowercase();
    let at = SYMBOLS.iter().position(|known| *known == letter)?;
    u8::try_from(at).ok()
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols = (0..self.len()).map(|at| SYMBOLS.get(usize::from(self.symbol(at))));
        symbols
            .flatten()
            .try_for_each(|symbol| write!(f, "{}", char::from(*symbol)))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// Prefixes, each with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// The root first; empty when there are no prefixes.
    nodes: Vec<Node>,
}

/// Twelve bytes: five in a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Where the first child is; the others follow it.
    first: u32,
    /// The value of the prefix that ends here, and one; 0: none ends here.
    value: u32,
    /// A bit for each symbol that a child stands for.
    children: u16,
}

/// Prefixes that share their first symbols, while the trie is made.
struct Branch {
    from: usize,
    to: usize,
}

impl Prefixes {
    /// A table of these prefixes, which must be sorted and each there once. A value is less than `u32::MAX`.
    pub fn of_sorted(entries: &[(Prefix, u32)]) -> Self {
        debug_assert!(entries.is_sorted_by(|one, next| one.0 < next.0));
        let mut nodes = Vec::new();
        let mut level = vec![Branch {
            from: 0,
            to: entries.len(),
        }];
        let mut depth = 0;
        while !entries.is_empty() && !level.is_empty() {
            let mut below = Vec::new();
            let first_below = nodes.len() + level.len();
            for branch in &level {
                let shared = entries.get(branch.from..branch.to).unwrap_or_default();
                let mut node = Node {
                    first: index(first_below + below.len()),
                    ..Node::default()
                };
                let ends_here = shared.first().filter(|entry| entry.0.len() == depth);
                node.value = ends_here.map_or(0, |entry| entry.1.saturating_add(1));
                let longer = branch.from + usize::from(ends_here.is_some());
                node.children = branch_out(entries, longer..branch.to, depth, &mut below);
                nodes.push(node);
            }
            level = below;
            depth += 1;
        }
        nodes.shrink_to_fit();
        Self { nodes }
    }

    /// The prefixes of a number that are in the table, the shortest first: how long each is, and its value.
    pub fn of(&self, number: Prefix) -> impl Iterator<Item = (usize, u32)> + '_ {
        let mut next = self.nodes.first();
        let mut depth = 0;
        std::iter::from_fn(move || {
            while let Some(node) = next {
                let len = depth;
                next = match len < number.len() {
                    true => self.child(node, number.symbol(len)),
                    false => None,
                };
                depth += 1;
                if let Some(value) = node.value.checked_sub(1) {
                    return Some((len, value));
                }
            }
            None
        })
    }

    /// The longest prefix of a number that is in the table.
    pub fn longest(&self, number: Prefix) -> Option<(usize, u32)> {
        self.of(number).last()
    }

    /// What the table occupies, in bytes.
    pub fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }

    fn child(&self, node: &Node, symbol: u8) -> Option<&Node> {
        let bit = 1_u16 << symbol;
        if node.children & bit == 0 {
            return None;
        }
        let before = (node.children & (bit - 1)).count_ones();
        self.nodes.get((node.first + before) as usize)
    }
}

/// Splits prefixes by their symbol at `depth`; which symbols there are, a bit each.
fn branch_out(
    entries: &[(Prefix, u32)],
    shared: std::ops::Range<usize>,
    depth: usize,
    below: &mut Vec<Branch>,
) -> u16 {
    let mut children = 0;
    let mut from = shared.start;
    while let Some(first) = entries.get(from).filter(|_| from < shared.end) {
        let symbol = first.0.symbol(depth);
        let rest = entries.get(from..shared.end).unwrap_or_default();
        let to = from + rest.partition_point(|entry| entry.0.symbol(depth) == symbol);
        below.push(Branch { from, to });
        children |= 1 << symbol;
        from = to;
    }
    children
}

/// Nodes are numbered by 32 bits: 24 for each of 100 million prefixes would fit.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).expect(text)
    }

    fn table(texts: &[&str]) -> Prefixes {
        let sorted: BTreeMap<_, _> = (0..)
            .zip(texts)
            .map(|(value, text)| (prefix(text), value))
            .collect();
        Prefixes::of_sorted(&sorted.into_iter().collect::<Vec<_>>())
    }

    #[test]
    fn prefixes_are_read_and_written() {
        assert_eq!(prefix("+4930").to_string(), "4930");
        assert_eq!(prefix("*#0aBcD9").to_string(), "*#0abcd9");
        assert!(prefix("").is_empty());
        assert_eq!(Prefix::parse("49x"), Err(NotAPrefix { at: 2 }));
        assert_eq!(Prefix::parse("++4"), Err(NotAPrefix { at: 1 }));
        assert_eq!(Prefix::parse("٤"), Err(NotAPrefix { at: 0 }));
        let longest = "1".repeat(Prefix::LONGEST);
        assert_eq!(prefix(&longest).to_string(), longest);
        assert_eq!(
            Prefix::parse(&format!("+{longest}1")),
            Err(NotAPrefix { at: 25 })
        );
        assert_eq!(prefix("49301").truncated(3), prefix("493"));
        assert_eq!(prefix("49").truncated(9), prefix("49"));
    }

    #[test]
    fn a_number_ends_where_the_user_part_stops_being_one() {
        for (user, number) in [
            ("+49(30)12-34.5", "493012345"),
            ("4930;npdi", "4930"),
            ("alice", "a"),
            ("bob", "b"),
            ("zoe", ""),
            ("", ""),
            ("0049 30", "0049"),
        ] {
            assert_eq!(Prefix::of_user(user).to_string(), number, "{user}");
        }
        let long = Prefix::of_user(&"7".repeat(99));
        assert_eq!(long.len(), Prefix::LONGEST);
    }

    #[test]
    fn the_longest_prefix_wins_and_all_are_found() {
        let table = table(&["49", "4930", "", "493", "1", "49301234"]);
        let found: Vec<_> = table.of(prefix("49301")).collect();
        assert_eq!(found, [(0, 2), (2, 0), (3, 3), (4, 1)]);
        assert_eq!(table.longest(prefix("4931")), Some((3, 3)));
        assert_eq!(table.longest(prefix("2")), Some((0, 2)));
        assert_eq!(table.longest(prefix("")), Some((0, 2)));
        assert_eq!(Prefixes::default().longest(prefix("49")), None);
        assert_eq!(Prefixes::of_sorted(&[]).longest(prefix("49")), None);
    }

    fn digits() -> impl Strategy<Value = String> {
        prop_oneof!["[0-3]{0,7}", "[0-9*#a-d]{0,24}", "49[0-9]{0,4}",]
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_search_of_everything(
            prefixes in prop::collection::vec(digits(), 0..80),
            numbers in prop::collection::vec(digits(), 1..40),
        ) {
            let texts: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let table = table(&texts);
            for number in &numbers {
                let mut expected: Vec<(usize, u32)> = Vec::new();
                for (value, text) in (0..).zip(&texts) {
                    if number.starts_with(text) {
                        expected.retain(|(len, _)| *len != text.len());
                        expected.push((text.len(), value));
                    }
                }
                expected.sort_unstable();
                let found: Vec<_> = table.of(prefix(number)).collect();
                prop_assert_eq!(table.longest(prefix(number)), expected.last().copied());
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn prefixes_sort_as_their_text_does(one in "[0-9]{0,24}", other in "[0-9]{0,24}") {
            prop_assert_eq!(prefix(&one).cmp(&prefix(&other)), one.cmp(&other));
        }
    }
}
