//! What a trunk may do with calls besides taking them: send them elsewhere.

/// A trunk's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferPolicy {
    /// What becomes of its 3xx.
    pub redirect: Redirect,
    /// What becomes of its REFER.
    pub refer: Refer,
}

/// What becomes of a 3xx that a trunk answers an INVITE with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Redirect {
    /// The caller gets it.
    #[default]
    Pass,
    /// The call goes to where it leads.
    Follow,
    /// The same, and the caller hears 181.
    FollowAloud,
}

/// What becomes of a REFER within a dialog with a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Refer {
    /// It is refused with 405.
    #[default]
    Off,
    /// The other party gets it.
    Pass,
    /// Tandem carries it out.
    Local,
}
