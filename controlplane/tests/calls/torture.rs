//! The torture messages of RFC 4475 and RFC 5118, each sent by a trunk's peer, and what comes of each by what the RFC
//! says of it. tandem is neither proxy nor registrar: a sound REGISTER is a 405, a sound request in a dialog that it has
//! not is a 481, and a sound INVITE is a call.

use std::path::Path;

use controlplane::sip::{HeaderName, Message, Method};

use crate::phone::header;
use crate::world::{CALLEE, CALLER, INSIDE, World, addr, settings};

/// What was done about a message.
#[derive(Debug, PartialEq, Eq)]
enum Treatment {
    /// It has this final response.
    Answered(u16),
    /// It began a call.
    Called,
    /// Nobody was sent anything.
    Discarded,
}

use Treatment::{Answered, Called, Discarded};

struct Outcome {
    treatment: Treatment,
    /// The final response, or the INVITE for the callee.
    message: Option<Message>,
    world: World,
}

/// Media on both sides in both families; the message comes from the caller's address.
fn treat(bytes: &[u8]) -> Outcome {
    let mut settings = settings();
    settings.media_groups[0]
        .addresses
        .push("fd01::1".parse().expect("an address"));
    let mut world = World::with(settings, 1);
    world.send(addr(CALLER), addr(INSIDE), bytes.to_vec());
    let mut outcome = (Discarded, None);
    for (to, message) in world.take_mail() {
        match (message.code(), message.method()) {
            (Some(code), _) if code.is_final() => {
                assert_eq!(to.ip(), addr(CALLER).ip(), "answers go to whoever asked");
                assert_eq!(outcome.0, Discarded, "one final response");
                outcome = (Answered(code.as_u16()), Some(message));
            }
            (None, Some(Method::Invite)) => {
                assert_eq!(to, addr(CALLEE));
                outcome = (Called, Some(message));
            }
            (Some(_), _) => {}
            (None, other) => panic!("{other:?} to {to}"),
        }
    }
    let (treatment, message) = outcome;
    Outcome {
        treatment,
        message,
        world,
    }
}

fn corpus(set: &str, name: &str) -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let path = corpus.join(set).join(format!("{name}.sip"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Sends a message of the corpus.
#[track_caller]
fn assert_treated(set: &str, name: &str, expected: Treatment) -> Outcome {
    let outcome = treat(&corpus(set, name));
    assert_eq!(outcome.treatment, expected, "{set} {name}");
    outcome
}

macro_rules! treated {
    ($set:literal: $($(#[$doc:meta])+ $test:ident $name:literal => $expected:expr $(, $more:expr)?;)+) => {
        const NAMES: &[&str] = &[$($name),+];

        $(
            $(#[$doc])+
            #[test]
            fn $test() {
                let outcome = assert_treated($set, $name, $expected);
                let check: fn(Outcome) = treated!(@more $($more)?);
                check(outcome);
            }
        )+

        #[test]
        fn every_message_of_the_rfc_has_its_test() {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
            let files = std::fs::read_dir(corpus.join($set)).expect("the corpus");
            let mut files: Vec<_> = files
                .map(|file| file.expect("a file").path())
                .filter(|path| path.extension().is_some_and(|end| end == "sip"))
                .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            files.sort();
            let mut names = NAMES.to_vec();
            names.sort_unstable();
            assert_eq!(files, names);
        }
    };
    (@more) => { |_| {} };
    (@more $more:expr) => { $more };
}

fn message(outcome: &Outcome) -> &Message {
    outcome.message.as_ref().expect("a message was sent")
}

mod rfc4475 {
    use super::*;

    treated! { "rfc4475":
        /// A well-formed request, with a To tag of no dialog here.
        s3_1_1_1_a_short_tortuous_invite "wsinv" => Answered(481), |outcome| {
            let cseq = header(message(&outcome), HeaderName::CSeq);
            assert_eq!(cseq.split_whitespace().collect::<Vec<_>>(), ["0009", "INVITE"]);
        };
        /// Well formed; of an unknown method.
        s3_1_1_2_wide_range_of_valid_characters "intmeth" => Answered(501);
        /// The escaped user is passed on as it is, not taken for a URI.
        s3_1_1_3_valid_use_of_the_percent_escaping_mechanism "esc01" => Called, |outcome| {
            let uri = message(&outcome).uri().expect("a request").to_string();
            assert_eq!(uri, format!("sip:sips%3Auser%40example.com@{CALLEE}"));
        };
        /// NULs within the users of a REGISTER are legal.
        s3_1_1_4_escaped_nulls_in_uris "escnull" => Answered(405);
        /// Percent signs in a method escape nothing: the method is unknown.
        s3_1_1_5_use_of_percent_when_it_is_not_an_escape "esc02" => Answered(501);
        /// No space between display name and `<`.
        s3_1_1_6_message_with_no_lws_between_display_name_and_angle "lwsdisp" => Answered(200);
        /// The call is made, and the headers that pass are whole.
        s3_1_1_7_long_values_in_header_fields "longreq" => Called, |outcome| {
            let from = header(message(&outcome), HeaderName::From);
            assert!(from.contains("amazinglylongcallername"), "{from}");
        };
        /// What follows the first message in the datagram is ignored.
        s3_1_1_8_extra_trailing_octets_in_a_udp_datagram "dblreq" => Answered(405);
        /// The semicolon is part of the user.
        s3_1_1_9_semicolon_separated_parameters_in_uri_user_part "semiuri" => Answered(200);
        /// Unknown transports in Via are fine.
        s3_1_1_10_varied_and_unknown_transport_types "transports" => Answered(200);
        /// A body of several parts, binary in places, in a request that is not taken here.
        s3_1_1_11_multipart_mime_message "mpart01" => Answered(405);
        /// A response to no request of ours; it parses.
        s3_1_1_12_unusual_reason_phrase "unreason" => Discarded, |outcome| {
            assert!(outcome.world.agent.counters().parse_errors.is_empty());
        };
        /// The same.
        s3_1_1_13_empty_reason_phrase "noreason" => Discarded, |outcome| {
            assert!(outcome.world.agent.counters().parse_errors.is_empty());
        };
        /// Semicolons and commas after the Via and Contact.
        s3_1_2_1_extraneous_header_field_separators "badinv01" => Answered(400);
        /// The datagram ends before the body does.
        s3_1_2_2_content_length_larger_than_message "clerr" => Answered(400);
        /// Content-Length: -999.
        s3_1_2_3_negative_content_length "ncl" => Answered(400);
        /// A CSeq beyond 32 bits, and other numbers that are too large.
        s3_1_2_4_request_scalar_fields_with_overlarge_values "scalar02" => Answered(400);
        /// The same in a response: it is of no transaction, and gone.
        s3_1_2_5_response_scalar_fields_with_overlarge_values "scalarlg" => Discarded;
        /// A quoted string without its end.
        s3_1_2_6_unterminated_quoted_string_in_display_name "quotbal" => Answered(400);
        /// Angle brackets around the Request-URI.
        s3_1_2_7_angle_brackets_enclosing_request_uri "ltgtruri" => Answered(400);
        /// White space in the Request-URI.
        s3_1_2_8_malformed_sip_request_uri_embedded_lws "lwsruri" => Answered(400);
        /// More than one space between the parts of the request line.
        s3_1_2_9_multiple_sp_separating_request_line_elements "lwsstart" => Answered(400);
        /// White space after the request line.
        s3_1_2_10_sp_characters_at_end_of_request_line "trws" => Answered(400);
        /// The escaped headers are ignored and go nowhere.
        s3_1_2_11_escaped_headers_in_sip_request_uri "escruri" => Called, |outcome| {
            let invite = message(&outcome);
            assert_eq!(invite.uri().expect("a request").to_string(), format!("sip:user@{CALLEE}"));
            assert!(!invite.headers.contains(&HeaderName::Route));
        };
        /// A Date in another zone than GMT: nobody here reads it, and it passes.
        s3_1_2_12_invalid_time_zone_in_date_header_field "baddate" => Called, |outcome| {
            assert_eq!(header(message(&outcome), HeaderName::Date), "Fri, 01 Jan 2010 16:00:00 EST");
        };
        /// A Contact that should have had brackets, in a request that is not taken here.
        s3_1_2_13_failure_to_enclose_name_addr_uri_in_angle "regbadct" => Answered(405);
        /// Spaces within the brackets are let pass.
        s3_1_2_14_spaces_within_addr_spec "badaspec" => Answered(200);
        /// Commas in display names that are not quoted: taken for what is meant, and passed on in quotes.
        s3_1_2_15_non_token_characters_in_display_name "baddn" => Answered(400), |_| {
            // The archive's copy lacks the empty line, and is refused for that; with it, it is taken.
            let whole = [&corpus("rfc4475", "baddn")[..], b"\r\n"].concat();
            assert_eq!(treat(&whole).treatment, Answered(200));
            let invite = String::from_utf8_lossy(&whole)
                .replace("OPTIONS", "INVITE")
                .replace("l: 0", "m: <sip:bell@10.1.0.2>\r\nl: 0");
            let outcome = treat(invite.as_bytes());
            let from = header(message(&outcome), HeaderName::From);
            assert!(from.starts_with("\"Bell, Alexander\" <sip:"), "{from}");
        };
        /// SIP/7.0.
        s3_1_2_16_unknown_protocol_version "badvers" => Answered(505);
        /// OPTIONS with a CSeq of INVITE.
        s3_1_2_17_start_line_and_cseq_method_mismatch "mismatch01" => Answered(400);
        /// An unknown method with a CSeq of INVITE.
        s3_1_2_18_unknown_method_with_cseq_method_mismatch "mismatch02" => Answered(400);
        /// A status code of ten digits.
        s3_1_2_19_overlarge_response_code "bigcode" => Discarded, |outcome| {
            assert_eq!(outcome.world.agent.counters().parse_errors["status_code"], 1);
        };
        /// A branch that is nothing but the cookie names no transaction: it is matched as RFC 2543 does.
        s3_2_1_missing_transaction_identifier "badbranch" => Answered(200);
        /// No From, To or Call-ID.
        s3_3_1_missing_required_header_fields "insuf" => Answered(400);
        /// nobodyKnowsThisScheme:
        s3_3_2_request_uri_with_unknown_scheme "unkscm" => Answered(416);
        /// soap.beep:
        s3_3_3_request_uri_with_known_but_atypical_scheme "novelsc" => Answered(416);
        /// Unknown schemes in From, To and Contact of a request that is not taken here.
        s3_3_4_unknown_uri_schemes_in_header_fields "unksm2" => Answered(405);
        /// Both Require and Proxy-Require name what nobody supports.
        s3_3_5_proxy_require_and_require "bext01" => Answered(420), |outcome| {
            let unsupported = header(message(&outcome), HeaderName::Unsupported);
            assert!(unsupported.contains("nothingSupportsThis"), "{unsupported}");
        };
        /// A body of an unknown type.
        s3_3_6_unknown_content_type "invut" => Answered(415), |outcome| {
            assert_eq!(header(message(&outcome), HeaderName::Accept), "application/sdp");
        };
        /// Credentials of an unknown scheme, in a request that is not taken here.
        s3_3_7_unknown_authorization_scheme "regaut01" => Answered(405);
        /// Two of each header that may stand once.
        s3_3_8_multiple_values_in_single_value_required_fields "multi01" => Answered(400);
        /// Two Content-Lengths that differ.
        s3_3_9_multiple_content_length_values "mcl01" => Answered(400);
        /// A response whose Vias are not ours.
        s3_3_10_200_ok_response_with_broadcast_via_header_field_value "bcast" => Discarded;
        /// An endpoint answers it as any other.
        s3_3_11_max_forwards_of_zero "zeromf" => Answered(200);
        /// Parameters of a Contact, in a request that is not taken here.
        s3_3_12_register_with_a_contact_header_parameter "cparam01" => Answered(405);
        /// The same.
        s3_3_13_register_with_a_url_parameter "cparam02" => Answered(405);
        /// The same.
        s3_3_14_register_with_a_url_escaped_header "regescrt" => Answered(405);
        /// The caller takes no session description.
        s3_3_15_unacceptable_accept_offering "sdp01" => Answered(406), |outcome| {
            let warning = header(message(&outcome), HeaderName::Warning);
            assert!(warning.starts_with("399 "), "{warning}");
        };
        /// No branch, no From tag, no Contact, no Max-Forwards, no Content-Length.
        s3_4_1_invite_with_rfc_2543_syntax "inv2543" => Called, |outcome| {
            assert!(!message(&outcome).body.is_empty());
        };
    }
}

mod rfc5118 {
    use super::*;

    treated! { "rfc5118":
        /// References to IPv6 addresses in Request-URI, Via and Contact.
        s4_1_valid_sip_message_with_an_ipv6_reference "ipv6-good" => Answered(405);
        /// The reference in the Request-URI lacks its brackets.
        s4_2_invalid_sip_message_with_an_ipv6_reference "ipv6-bad" => Answered(400);
        /// What was meant as a port is a part of the address: sound all the same.
        s4_3_port_ambiguous_in_a_sip_uri "port-ambiguous" => Answered(405);
        /// The port stands behind the bracket.
        s4_4_port_unambiguous_in_a_sip_uri "port-unambiguous" => Answered(405);
        /// `received` in brackets, which the grammar does not allow.
        s4_5_ipv6_reference_delimiters_in_via_header "via-received-param-with-delim" => Answered(481);
        /// The same without.
        s4_5_no_ipv6_reference_delimiters_in_via_header "via-received-param-no-delim" => Answered(200);
        /// Addresses in the body have no brackets.
        s4_6_sip_request_with_ipv6_addresses_in_sdp_body "ipv6-in-sdp" => Called;
        /// Vias of both families.
        s4_7_multiple_ip_addresses_in_sip_headers "mult-ip-in-header" => Answered(481);
        /// Streams of both families.
        s4_8_multiple_ip_addresses_in_sdp "mult-ip-in-sdp" => Called, |outcome| {
            let sdp = String::from_utf8_lossy(&message(&outcome).body).into_owned();
            assert!(!sdp.contains("192.0.2.1") && !sdp.contains("2001:db8::1"), "{sdp}");
            assert!(!sdp.contains("m=audio 0") && !sdp.contains("m=video 0"), "{sdp}");
        };
        /// An IPv4 address in the form of an IPv6 one: media go there by IPv4.
        s4_9_ipv4_mapped_ipv6_addresses "ipv4-mapped-ipv6" => Called, |outcome| {
            let mut flows = outcome.world.flows[0].values();
            let audio = addr("192.0.2.2:6000");
            assert!(flows.any(|flow| format!("{flow:?}").contains(&format!("{audio:?}"))));
        };
        /// Three colons, by the grammar's mistake.
        s4_10_ipv6_reference_bug_in_rfc_3261_abnf "ipv6-bug-abnf-3-colons" => Answered(200);
        /// Two, as is right.
        s4_10_ipv6_reference_without_the_bug "ipv6-correct-abnf-2-colons" => Answered(200);
    }
}
