//! Handlers in every language: one suite that all of them pass, the projects that `heddle new` makes, the SDKs' own tests.
//!
//! A language is supported when its guest, `tests/guests/languages/<language>/probe`, keeps every promise of `promises`.
//! The guests are built by `cargo xtask languages`, and by `cargo xtask test`.

mod bindings;
mod guest;
mod polyglot;
mod promises;
mod sdks;
mod templates;

/// Every promise as a test of one language.
macro_rules! language {
    ($language:ident: $($promise:ident)*) => {
        mod $language {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    crate::promises::$promise(stringify!($language)).await;
                }
            )*
        }
    };
}

/// The suite, for each of these languages.
macro_rules! languages {
    ($($language:ident)*) => {
        $(
            language! { $language:
                a_payload_passes_unchanged
                a_hundred_headers_arrive_in_their_order
                text_is_unicode_and_what_is_not_is_a_dead_letter
                json_is_read_and_written
                what_cannot_be_read_is_named
                each_verdict_arrives_with_its_reason
                what_a_failed_event_did_is_forgotten
                a_state_is_kept_as_json
                a_state_may_be_any_bytes
                a_message_may_be_delayed
                an_event_is_answered_once
                the_context_is_that_of_the_event
                a_setting_may_be_missing
                log_lines_keep_their_level_and_what_is_printed_is_logged
                an_uncaught_error_arrives_with_its_message_and_stack
                an_uncaught_refusal_is_a_dead_letter
                a_refusal_can_be_caught
                messages_are_bounded
                output_is_bounded
                run_time_is_bounded
                memory_is_bounded
                recursion_ends
                the_clock_reads_the_events_time
                random_numbers_are_the_same_on_every_run
                an_instance_is_reused_and_a_new_one_remembers_nothing
                an_asynchronous_handler_runs_to_its_end
                what_waits_for_ever_fails_with_a_reason
                an_unknown_verb_is_rejected
                thousands_of_events_do_not_grow_an_instance
            }
        )*
    };
}

languages! { rust js python go c }
