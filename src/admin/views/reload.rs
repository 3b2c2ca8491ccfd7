//! `tandem reload`: what has become of the configuration file.

use serde::{Deserialize, Serialize};

/// `tandem reload`: what has become of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Whether the process runs by it now.
    pub(crate) applied: bool,
    /// Why not, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// What differs from what the process runs by, or ran by before.
    pub(crate) changes: Vec<crate::config::Change>,
    /// The findings of the check, as `tandem check` shows them.
    pub(crate) report: String,
}

impl Reloaded {
    /// It could not even be read.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self {
            refused: Some(why.into()),
            ..Self::default()
        }
    }
}
