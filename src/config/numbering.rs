//! Which number each trunk gets. At a start it is its place in the file. In a running process calls know their trunks
//! by their numbers: a trunk keeps the number that its name had, a new one gets a new number, and one that is gone
//! keeps its place, retired.

use super::section::Located;

/// The trunks of a running process, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    names: Vec<String>,
}

impl Numbering {
    /// The numbers that these settings gave.
    pub(crate) fn of(settings: &controlplane::settings::Settings) -> Self {
        let names = settings.trunks.iter().map(|trunk| trunk.name.clone());
        Self {
            names: names.collect(),
        }
    }

    /// The number of each of the file's trunks, in its order. A trunk whose name could not be read, or is there
    /// twice, gets a number too; the file cannot be used then.
    pub(crate) fn number<'f>(
        &self,
        trunks: impl Iterator<Item = Option<&'f Located<String>>>,
    ) -> Vec<usize> {
        let mut next = self.names.len();
        let mut taken = vec![false; next];
        let mut new = || {
            next += 1;
            next - 1
        };
        trunks
            .map(|name| {
                let known = name
                    .and_then(|name| self.names.iter().position(|former| *former == name.value));
                match known {
                    Some(number) if !std::mem::replace(&mut taken[number], true) => number,
                    _ => new(),
                }
            })
            .collect()
    }

    /// Puts the trunks at their numbers; the places between are retired.
    pub(crate) fn arrange(
        &self,
        numbers: &[usize],
        trunks: Vec<controlplane::settings::Trunk>,
    ) -> Vec<controlplane::settings::Trunk> {
        let names = self.names.iter();
        let mut arranged: Vec<_> = names.map(controlplane::settings::Trunk::retired).collect();
        let mut numbered: Vec<_> = numbers.iter().zip(trunks).collect();
        numbered.sort_by_key(|(number, _)| **number);
        for (number, trunk) in numbered {
            match arranged.get_mut(*number) {
                Some(place) => *place = trunk,
                None => arranged.push(trunk),
            }
        }
        arranged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use controlplane::settings::{MediaGroupId, Trunk};

    fn trunk(name: &str) -> Trunk {
        Trunk::new(name, [], [], MediaGroupId(7))
    }

    fn renumbered(before: &[&str], after: &[&str]) -> Vec<(String, bool)> {
        let numbering = Numbering {
            names: before.iter().map(|name| (*name).to_owned()).collect(),
        };
        let located: Vec<_> = after
            .iter()
            .map(|name| Located {
                value: (*name).to_owned(),
                span: 0..0,
            })
            .collect();
        let numbers = numbering.number(located.iter().map(Some));
        let trunks = after.iter().map(|name| trunk(name)).collect();
        let arranged = numbering.arrange(&numbers, trunks);
        for (number, name) in numbers.iter().zip(after) {
            assert_eq!(arranged[*number].name, *name);
        }
        arranged
            .into_iter()
            .map(|trunk| (trunk.name, trunk.retired))
            .collect()
    }

    fn expected(trunks: &[(&str, bool)]) -> Vec<(String, bool)> {
        trunks
            .iter()
            .map(|(name, retired)| ((*name).to_owned(), *retired))
            .collect()
    }

    #[test]
    fn at_a_start_a_trunk_s_number_is_its_place() {
        assert_eq!(
            renumbered(&[], &["b", "a"]),
            expected(&[("b", false), ("a", false)])
        );
    }

    #[test]
    fn known_names_keep_their_numbers_and_the_rest_goes_behind() {
        assert_eq!(
            renumbered(&["a", "b", "c"], &["d", "c", "a", "e"]),
            expected(&[
                ("a", false),
                ("b", true),
                ("c", false),
                ("d", false),
                ("e", false)
            ])
        );
        assert_eq!(
            renumbered(&["a", "b"], &["b"]),
            expected(&[("a", true), ("b", false)])
        );
    }
}
