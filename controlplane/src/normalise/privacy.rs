//! What callers want kept private (RFC 3323, RFC 3325, RFC 7044 §10.1), carried out towards a trunk that is not trusted.
//!
//! | asked for | what happens |
//! |---|---|
//! | `id` | From is anonymous: RFC 3325 leaves From to the caller's phone, 3GPP TS 24.607 lets the network see to it |
//! | `user` | From is anonymous; headers in which users tell of themselves go |
//! | `header` | headers that tell of the way go: Diversion, History-Info |
//! | `history` | History-Info and Diversion go |
//! | `session`, `critical` | nothing more: addresses of the other side are never told |
//! | `none` | nothing |
//!
//! Single entries of Diversion and History-Info may ask for themselves: `entries`.
//!
//! What has been carried out is taken out of Privacy (RFC 3323 §5.1 to 5.3). That identities go whatever the
//! caller asks for is `trust`'s rule.

use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Headers};

/// The From of a caller that stays unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS_DISPLAY: &[u8] = b"\"Anonymous\"";
const ANONYMOUS_URI: &[u8] = b"sip:anonymous@anonymous.invalid";

/// Headers in which users tell of themselves (RFC 5379 §5).
const OF_THE_USER: [&str; 6] = [
    "Subject",
    "Call-Info",
    "Organization",
    "Reply-To",
    "In-Reply-To",
    "Referred-By",
];

/// What a caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    id: bool,
    user: bool,
    header: bool,
    history: bool,
}

impl Wishes {
    /// Those of a message: of every Privacy header, its values between semicolons.
    pub(super) fn of(headers: &Headers) -> Self {
        let mut wishes = Self::default();
        for value in values(headers) {
            match value.as_str() {
                "id" => wishes.id = true,
                "user" => wishes.user = true,
                "header" => wishes.header = true,
                "history" => wishes.history = true,
                // What a trunk requires beyond the caller's word has no values of its own here.
                "none" => return Self::default(),
                _ => {}
            }
        }
        wishes
    }

    /// Whether the caller is not to be named.
    const fn unnamed(self) -> bool {
        self.id || self.user
    }
}

/// Whether the identity is to stay within the trust domain (RFC 3325 §7).
pub(super) fn asks_for_id(headers: &Headers) -> bool {
    values(headers).iter().any(|value| value == "id")
}

fn values(headers: &Headers) -> Vec<String> {
    let fields = headers.all(&HeaderName::Privacy);
    let mut values = Vec::new();
    for field in fields {
        let value = field.value();
        let parts = value.split(|byte| matches!(byte, b';' | b','));
        let words =
            parts.map(|part| String::from_utf8_lossy(part.trim_ascii()).to_ascii_lowercase());
        values.extend(words.filter(|word| !word.is_empty()));
    }
    values
}

/// Carries out what the message's Privacy asks for. A request's own From is changed only before the request
/// makes a dialog: `begins` says so.
pub(super) fn carry_out(headers: &mut Headers, begins: bool) {
    let wishes = Wishes::of(headers);
    if wishes.unnamed() && begins {
        make_anonymous(headers);
    }
    if wishes.user {
        for name in OF_THE_USER {
            headers.remove(&HeaderName::from(name));
        }
    }
    if wishes.header || wishes.history {
        headers.remove(&HeaderName::HistoryInfo);
        headers.remove(&HeaderName::Diversion);
    }
    super::entries::make_anonymous(headers);
    if wishes != Wishes::default() {
        forget_wishes(headers);
    }
}

/// From names nobody; its tag stays.
pub(super) fn make_anonymous(headers: &mut Headers) {
    let Some(from) = headers.value(&HeaderName::From) else {
        return;
    };
    let (Ok(from), Ok(uri)) = (NameAddr::parse(&from), Uri::parse(ANONYMOUS_URI)) else {
        return;
    };
    let tag = from.tag().map(str::to_owned);
    let mut anonymous = NameAddr::new(uri);
    anonymous.display = Some(ANONYMOUS_DISPLAY.to_vec());
    if let Some(tag) = tag {
        anonymous = anonymous.with_tag(&tag);
    }
    headers.set(HeaderName::From, anonymous.to_bytes());
}

/// Asks for privacy in the caller's place, besides what it asks for itself; `none` does not hold any more.
pub(super) fn ask_for(headers: &mut Headers, wanted: &[&str]) {
    let mut all = values(headers);
    all.retain(|value| value != "none");
    for value in wanted {
        if all.iter().all(|known| known != value) {
            all.push((*value).to_owned());
        }
    }
    headers.set(HeaderName::Privacy, all.join(";"));
}

fn forget_wishes(headers: &mut Headers) {
    let mut left = values(headers);
    left.retain(|value| !["id", "user", "header", "history", "critical"].contains(&value.as_str()));
    match left.is_empty() {
        true => {
            headers.remove(&HeaderName::Privacy);
        }
        false => headers.set(HeaderName::Privacy, left.join(";")),
    }
}
