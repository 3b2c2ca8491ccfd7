//! What a trunk may do with calls besides taking them: send them elsewhere, and take others' places in them.

/// A trunk's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferPolicy {
    /// What becomes of its 3xx.
    pub redirect: Redirect,
    /// What becomes of its REFER.
    pub refer: Refer,
    /// What becomes of the Replaces in its INVITE.
    pub replaces: Takeover,
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

/// What becomes of an INVITE with Replaces (RFC 3891) that comes from a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Takeover {
    /// It is an INVITE as any other; one that requires the extension is refused with 420.
    #[default]
    Off,
    /// Who is called gets it, with the name by which it knows the dialog.
    Pass,
    /// Tandem gives its sender the place of the party whose dialog it names.
    Local,
}
