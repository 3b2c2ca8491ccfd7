//! Header field names, their compact forms, and which of them hold lists.

use std::fmt;

macro_rules! header_names {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal $(, $compact:literal)? $(, list: $list:literal)?;)+) => {
        /// A header field's name. Names are compared without regard to case; a compact form names the
        /// same header as the long one (RFC 3261 §7.3.3).
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HeaderName {
            $($(#[doc = $doc])+ $name,)+
            /// Any other name, in lower case.
            Other(String),
        }

        impl HeaderName {
            /// The names that have a variant here.
            pub const KNOWN: &'static [Self] = &[$(Self::$name,)+];

            /// The long form, spelled as the RFCs spell it; an unknown name in lower case.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)+
                    Self::Other(text) => text,
                }
            }

            /// The one-letter form, in lower case, where there is one.
            pub const fn compact(&self) -> Option<char> {
                match self {
                    $($(Self::$name => Some($compact),)?)+
                    _ => None,
                }
            }

            /// Whether the header's grammar is a comma-separated list, so that several headers of the
            /// name mean the same as one (RFC 3261 §7.3.1). An unknown header is never split: its
            /// commas may mean something else.
            pub const fn is_list(&self) -> bool {
                match self {
                    $($(Self::$name => $list,)?)+
                    _ => false,
                }
            }
        }
    };
}

header_names! {
    /// Media types that the sender takes.
    Accept = "Accept", list: true;
    /// Content encodings that the sender takes.
    AcceptEncoding = "Accept-Encoding", list: true;
    /// Languages that the sender takes.
    AcceptLanguage = "Accept-Language", list: true;
    /// Methods that the sender takes.
    Allow = "Allow", list: true;
    /// Event packages that the sender takes (RFC 6665).
    AllowEvents = "Allow-Events", 'u', list: true;
    /// Credentials; its commas separate parameters, not values.
    Authorization = "Authorization";
    /// Names the call.
    CallId = "Call-ID", 'i';
    /// Where the sender can be reached.
    Contact = "Contact", 'm', list: true;
    /// How the body is to be taken.
    ContentDisposition = "Content-Disposition";
    /// How the body is encoded.
    ContentEncoding = "Content-Encoding", 'e', list: true;
    /// The body's language.
    ContentLanguage = "Content-Language", list: true;
    /// The body's length in bytes.
    ContentLength = "Content-Length", 'l';
    /// The body's media type.
    ContentType = "Content-Type", 'c';
    /// The request's number and method.
    CSeq = "CSeq";
    /// When the message was sent.
    Date = "Date";
    /// Where an error is explained.
    ErrorInfo = "Error-Info", list: true;
    /// The event package (RFC 6665).
    Event = "Event", 'o';
    /// How long something holds.
    Expires = "Expires";
    /// Who sent the request.
    From = "From", 'f';
    /// Where the call was diverted (RFC 5806).
    Diversion = "Diversion", list: true;
    /// How a call came to be where it is (RFC 7044).
    HistoryInfo = "History-Info", list: true;
    /// How many more hops the request may take.
    MaxForwards = "Max-Forwards";
    /// The MIME version.
    MimeVersion = "MIME-Version";
    /// The shortest session timer (RFC 4028).
    MinSe = "Min-SE";
    /// The caller's identity, asserted by a trusted node (RFC 3325).
    PAssertedIdentity = "P-Asserted-Identity", list: true;
    /// The identity that the caller prefers (RFC 3325).
    PPreferredIdentity = "P-Preferred-Identity", list: true;
    /// What the caller wants kept private (RFC 3323).
    Privacy = "Privacy";
    /// A challenge; its commas separate parameters, not values.
    ProxyAuthenticate = "Proxy-Authenticate";
    /// Credentials for a proxy; its commas separate parameters, not values.
    ProxyAuthorization = "Proxy-Authorization";
    /// What proxies must understand.
    ProxyRequire = "Proxy-Require", list: true;
    /// Which reliable provisional response is acknowledged (RFC 3262).
    RAck = "RAck";
    /// Why the request was sent (RFC 3326).
    Reason = "Reason", list: true;
    /// The route that later requests of the dialog take.
    RecordRoute = "Record-Route", list: true;
    /// Whom to contact (RFC 3515).
    ReferTo = "Refer-To", 'r';
    /// Who refers (RFC 3892).
    ReferredBy = "Referred-By", 'b';
    /// Which dialog the request replaces (RFC 3891).
    Replaces = "Replaces";
    /// What the receiver must understand.
    Require = "Require", list: true;
    /// When to try again.
    RetryAfter = "Retry-After";
    /// The route that the request takes.
    Route = "Route", list: true;
    /// The number of a reliable provisional response (RFC 3262).
    RSeq = "RSeq";
    /// The server's software.
    Server = "Server";
    /// The session timer (RFC 4028).
    SessionExpires = "Session-Expires", 'x';
    /// What the call is about.
    Subject = "Subject", 's';
    /// The state of a subscription (RFC 6665).
    SubscriptionState = "Subscription-State";
    /// Extensions that the sender understands.
    Supported = "Supported", 'k', list: true;
    /// When the request was sent, by the client's clock.
    Timestamp = "Timestamp";
    /// Whom the request was meant for.
    To = "To", 't';
    /// Extensions that were required and are not understood.
    Unsupported = "Unsupported", list: true;
    /// The client's software.
    UserAgent = "User-Agent";
    /// The path that the request took and the response takes back.
    Via = "Via", 'v', list: true;
    /// Remarks for people.
    Warning = "Warning", list: true;
    /// A challenge; its commas separate parameters, not values.
    WwwAuthenticate = "WWW-Authenticate";
}

impl From<&str> for HeaderName {
    /// Takes the text as it is: the lexer has checked that it is a token.
    fn from(text: &str) -> Self {
        let mut letters = text.chars();
        if let (Some(letter), None) = (letters.next(), letters.next()) {
            let lower = letter.to_ascii_lowercase();
            if let Some(name) = Self::KNOWN
                .iter()
                .find(|name| name.compact() == Some(lower))
            {
                return name.clone();
            }
        }
        Self::KNOWN
            .iter()
            .find(|name| name.as_str().eq_ignore_ascii_case(text))
            .cloned()
            .unwrap_or_else(|| Self::Other(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_found_in_any_case_and_by_their_compact_form() {
        let mut compact = HashSet::new();
        for name in HeaderName::KNOWN {
            assert_eq!(&HeaderName::from(name.as_str()), name);
            let upper = name.as_str().to_ascii_uppercase();
            assert_eq!(&HeaderName::from(upper.as_str()), name);
            if let Some(letter) = name.compact() {
                assert!(compact.insert(letter), "{letter} names two headers");
                assert_eq!(&HeaderName::from(letter.to_string().as_str()), name);
            }
        }
        assert_eq!(HeaderName::from("X-Carrier"), HeaderName::from("x-cARRIER"));
    }
}
