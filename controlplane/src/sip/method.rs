//! Request methods.

use std::fmt;

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What a request asks for. Methods are case-sensitive (RFC 3261 §7.1): `invite` is not
        /// `INVITE`.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method {
            $($(#[doc = $doc])+ $name,)+
            /// Any other token, kept as it was written.
            Other(String),
        }

        impl Method {
            /// The methods that have a name here.
            pub const KNOWN: &'static [Self] = &[$(Self::$name,)+];

            /// The method as it stands in a message.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for Method {
            /// Takes the text as it is: the lexer has checked that it is a token.
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

methods! {
    /// Sets up or changes a session (RFC 3261).
    Invite = "INVITE",
    /// Acknowledges a final response to INVITE (RFC 3261).
    Ack = "ACK",
    /// Ends a session (RFC 3261).
    Bye = "BYE",
    /// Takes a pending INVITE back (RFC 3261).
    Cancel = "CANCEL",
    /// Asks for capabilities (RFC 3261).
    Options = "OPTIONS",
    /// Binds an address of record to a contact (RFC 3261).
    Register = "REGISTER",
    /// Carries application data within a dialog (RFC 6086).
    Info = "INFO",
    /// Changes a session without a new INVITE (RFC 3311).
    Update = "UPDATE",
    /// Acknowledges a reliable provisional response (RFC 3262).
    Prack = "PRACK",
    /// Asks the receiver to contact a third party (RFC 3515).
    Refer = "REFER",
    /// Reports an event (RFC 6665).
    Notify = "NOTIFY",
    /// Asks for events (RFC 6665).
    Subscribe = "SUBSCRIBE",
    /// An instant message (RFC 3428).
    Message = "MESSAGE",
    /// Publishes event state (RFC 3903).
    Publish = "PUBLISH",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_reads_back_and_case_matters() {
        for method in Method::KNOWN {
            assert_eq!(&Method::from(method.as_str()), method);
            let lower = method.as_str().to_ascii_lowercase();
            assert_eq!(Method::from(lower.as_str()), Method::Other(lower));
        }
    }
}
