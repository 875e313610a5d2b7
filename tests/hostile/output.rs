//! Guests that publish, answer, log and keep what they must not.

use crate::expect::{calls, done, effect, output, reject, trap};

guests! {
    million_messages => calls(),
    messages_beyond_the_limit => output("messages", "messages: 51 used, 50 allowed"),
    payload_too_large => done("l"),
    payload_larger_than_the_server_takes => output("message", "message: "),
    output_beyond_the_limit => output("output", "output: "),
    subjects_with_wildcards => done("iiiiiii"),
    subjects_reserved => done("iiiiiiiii"),
    subjects_of_others => done("ggggggg"),
    subjects_malformed => done("iiiiiiiiiiiiii"),
    subject_too_long => done("i"),
    headers_of_the_server => done("iiiiiiiiiii"),
    headers_of_the_host => done("iiiiiiii"),
    headers_with_line_breaks => done("iiiiiiii"),
    header_names_odd => done("iiiiiii"),
    header_bomb => done("ii"),
    reason_of_1_mib => reject("AAAAAAAAAAAAAAAA"),
    reason_with_line_breaks => reject(r"a\r\nNats-Rollup: all\r\n\r\n\u{1b}[2J\u{1b}]0;b\u{7}"),
    log_flood => done(""),
    log_line_of_4_mib => done(""),
    state_too_large => done("l"),
    state_beyond_the_limit => output("state", "state: "),
    delay_of_a_century => done("i"),
    reply_without_inbox => done("i"),
    give_up_when_not_granted => effect("og"),
    trap_when_not_granted => trap("unreachable"),
    reply_twice => effect("answered already"),
    reply_to_a_subject => effect("not an inbox"),
    reply_with_reserved_headers => effect("is reserved"),
}
