/**
 * Handlers for Heddle in C.
 *
 * A handler is one function, `handle`, that takes an event and answers with a verdict. What it publishes and
 * the state it sets are held back by the host and take effect together if it answers `HEDDLE_DONE`. Otherwise
 * they are forgotten. So a handler never has to undo anything.
 *
 *     #include <heddle.h>
 *
 *     heddle_verdict handle(const heddle_event *event) {
 *         HEDDLE_TRY(heddle_publish_text("greeting.sent", heddle_printf("hello %s", event->key)));
 *         return HEDDLE_DONE;
 *     }
 *
 * Memory. Everything that these functions give (texts, bytes, errors, JSON) lives until the event ends and is
 * then freed at once. A handler frees nothing of it and keeps none of it in globals. `heddle_alloc` gives memory
 * of the same kind. What a handler takes from `malloc` itself it frees itself.
 *
 * Texts are UTF-8 and end with a NUL. A text of the host that holds a NUL seems to end there.
 *
 * Errors. A function that can fail answers with NULL, or with a `heddle_error` that says why. `HEDDLE_TRY` ends
 * the handler with the verdict that fits the error.
 *
 * JSON is in <heddle_json.h>, unit tests are in <heddle_test.h>.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HEDDLE_H
#define HEDDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/** Lets the compiler check the arguments of a function that takes a format. */
#if defined(__GNUC__) || defined(__clang__)
#define HEDDLE_FORMAT(format, first) __attribute__((__format__(__printf__, format, first)))
#define HEDDLE_MUST_USE __attribute__((__warn_unused_result__))
#else
#define HEDDLE_FORMAT(format, first)
#define HEDDLE_MUST_USE
#endif

/* ---- Values ------------------------------------------------------------------------------------------- */

/** Bytes that may hold NULs. `data` is never NULL in what this library gives. */
typedef struct heddle_bytes {
    const uint8_t *data;
    size_t len;
} heddle_bytes;

/** One header of an event or a message. Names may repeat. */
typedef struct heddle_header {
    const char *name;
    const char *value;
} heddle_header;

/** The bytes of a text, without its NUL. */
heddle_bytes heddle_text(const char *text);

/* ---- The event ---------------------------------------------------------------------------------------- */

/** One message of a stream. It can be read and nothing else. */
typedef struct heddle_event {
    /** `<stream>/<sequence>`: the same whenever this event is run again, so it serves as an idempotency key
        for calls to the outside. */
    const char *id;
    /** The subject the event was published on. */
    const char *subject;
    /** The key that keeps this event in order, as the handler's `key` template gave it. State is kept by it. */
    const char *key;
    /** When the stream stored the event, since 1970. `time(NULL)` reads this very time while the event runs. */
    struct timespec time;
    /** The headers in their order, without `Nats-…`. */
    const heddle_header *headers;
    size_t header_count;
    /** The payload as it was published. A NUL that does not count follows its last byte. */
    heddle_bytes payload;
} heddle_event;

/** The token of the subject at `index`, counted from 0 as in `key = "{subject.2}"`, or NULL. */
const char *heddle_token(const heddle_event *event, size_t index);

/** Whether the token at `index` is there and is `expected`. */
bool heddle_token_is(const heddle_event *event, size_t index, const char *expected);

/** The first value of a header, or NULL. Upper and lower case differ. */
const char *heddle_header_value(const heddle_event *event, const char *name);

/** The value of a header that comes `nth`, counted from 0, among those of its name, or NULL. */
const char *heddle_header_nth(const heddle_event *event, const char *name, size_t nth);

/* ---- Errors ------------------------------------------------------------------------------------------- */

typedef enum heddle_error_kind {
    /** The subject is outside the handler's `publishes`. */
    HEDDLE_NOT_GRANTED = 1,
    /** The subject, a header or the payload cannot be published. */
    HEDDLE_INVALID,
    /** Larger than allowed: `limit` is in bytes. */
    HEDDLE_TOO_LARGE,
    /** More messages than allowed for one event: `limit` says how many are. */
    HEDDLE_TOO_MANY,
    /** The payload or the state is not what the handler expects. */
    HEDDLE_DECODE,
    /** A setting of `heddle.toml` is not what the handler expects. */
    HEDDLE_CONFIG
} heddle_error_kind;

/** Why something failed. Functions answer with a pointer to it; NULL means that all went well. */
typedef struct heddle_error {
    heddle_error_kind kind;
    /** Of HEDDLE_TOO_LARGE and HEDDLE_TOO_MANY; else 0. */
    uint64_t limit;
    /** The whole error in words, such as "publish on `out.x` refused: too many messages: the limit is 3". */
    const char *text;
} heddle_error;

/* ---- Verdicts ----------------------------------------------------------------------------------------- */

typedef enum heddle_verdict_kind {
    HEDDLE_VERDICT_DONE,
    HEDDLE_VERDICT_RETRY,
    HEDDLE_VERDICT_DEFER,
    HEDDLE_VERDICT_REJECT
} heddle_verdict_kind;

/** What becomes of an event. Made by the macro and the functions below. */
typedef struct heddle_verdict {
    heddle_verdict_kind kind;
    /** Of HEDDLE_VERDICT_DEFER; else 0. */
    uint32_t delay_ms;
    /** Of all but HEDDLE_VERDICT_DONE; else NULL. */
    const char *reason;
} heddle_verdict;

/** The event is done: what was asked for takes effect. */
#define HEDDLE_DONE ((heddle_verdict){HEDDLE_VERDICT_DONE, 0, NULL})

/** Try again after the handler's back-off, up to `max-attempts`; then the event becomes a dead letter. */
HEDDLE_MUST_USE HEDDLE_FORMAT(1, 2) heddle_verdict heddle_retry(const char *format, ...);

/** Try again after at least `delay_ms` milliseconds (at most 49 days). Not counted as an attempt. */
HEDDLE_MUST_USE HEDDLE_FORMAT(2, 3) heddle_verdict heddle_defer(uint32_t delay_ms, const char *format, ...);

/** Never try again: the event becomes a dead letter at once. */
HEDDLE_MUST_USE HEDDLE_FORMAT(1, 2) heddle_verdict heddle_reject(const char *format, ...);

/** The verdict that fits an error, with its text as the reason: a retry of HEDDLE_CONFIG, because the event is
    not to blame; else a reject, because the event would fail again. */
HEDDLE_MUST_USE heddle_verdict heddle_failed(const heddle_error *error);

/** Ends the handler with the verdict that fits, if the call fails: `HEDDLE_TRY(heddle_publish_text(…));` */
#define HEDDLE_TRY(call)                                                                                    \
    do {                                                                                                    \
        const heddle_error *heddle_try_error = (call);                                                      \
        if (heddle_try_error != NULL) {                                                                     \
            return heddle_failed(heddle_try_error);                                                         \
        }                                                                                                   \
    } while (0)

/** The handler. You write it. Events of one key come one at a time, in the order of the stream. */
heddle_verdict handle(const heddle_event *event);

/* ---- The payload as text ------------------------------------------------------------------------------ */

/**
 * The payload as text.
 *
 * HEDDLE_DECODE if it is not UTF-8.
 */
HEDDLE_MUST_USE const heddle_error *heddle_event_text(const heddle_event *event, const char **text);

/* ---- Effects ------------------------------------------------------------------------------------------ */

/** A message to publish in the application's stream. What is left out is empty. */
typedef struct heddle_message {
    /** A plain subject: no wildcards, within the handler's `publishes`. */
    const char *subject;
    heddle_bytes payload;
    /** At most 64. Names that begin with `Nats-` or `Heddle-`, in any letter case, and `traceparent` are refused. */
    const heddle_header *headers;
    size_t header_count;
    /** Seconds from the commit to the publishing. They survive restarts of host and server. */
    uint32_t delay_s;
} heddle_message;

/**
 * Publishes a message if the event is done:
 *
 *     heddle_publish(&(heddle_message){.subject = "order.reminder.c1", .payload = heddle_text("o-17"), .delay_s = 3600})
 *
 * An error if the host refused it: HEDDLE_NOT_GRANTED, HEDDLE_INVALID, HEDDLE_TOO_LARGE or HEDDLE_TOO_MANY.
 */
HEDDLE_MUST_USE const heddle_error *heddle_publish(const heddle_message *message);

/** Publishes a text. Errors as of `heddle_publish`. */
HEDDLE_MUST_USE const heddle_error *heddle_publish_text(const char *subject, const char *text);

/** Publishes bytes. Errors as of `heddle_publish`. */
HEDDLE_MUST_USE const heddle_error *heddle_publish_bytes(const char *subject, const void *data, size_t len);

/**
 * Answers the event, on the inbox that its publisher gave in the header `Heddle-Reply-To`. The answer is sent
 * once after the commit and not repeated if the host dies in between. The headers may be NULL.
 *
 * HEDDLE_INVALID if there is no such header or the event is answered already; else as of `heddle_publish`.
 */
HEDDLE_MUST_USE const heddle_error *heddle_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count);

/* ---- State -------------------------------------------------------------------------------------------- */

/*
 * One value for each key of this handler. It is stored in the same commit as the effects. Events of a key run
 * one at a time, so reading and then writing needs no lock.
 */

/** The value left by the last event of this key, or what this event has set. False if there is none: `value` is
    then empty. */
bool heddle_state_get(heddle_bytes *value);

/**
 * The same as text, or NULL if there is none.
 *
 * HEDDLE_DECODE if it is not UTF-8.
 */
HEDDLE_MUST_USE const heddle_error *heddle_state_get_text(const char **text);

/**
 * Replaces the value.
 *
 * HEDDLE_TOO_LARGE if it is larger than `limits.state`.
 */
HEDDLE_MUST_USE const heddle_error *heddle_state_set(const void *data, size_t len);

/** The same with a text. */
HEDDLE_MUST_USE const heddle_error *heddle_state_set_text(const char *text);

/** Removes the value: there is none from now on. A key without a value costs nothing. */
void heddle_state_clear(void);

/* ---- Context ------------------------------------------------------------------------------------------ */

/** 1 on the first run, 2 on the first retry, and so on. Deferrals do not count. */
uint32_t heddle_attempt(void);

/** The stream the event was read from. */
const char *heddle_stream(void);

/** The event's sequence in that stream. */
uint64_t heddle_sequence(void);

/** The handler's name in `heddle.toml`. */
const char *heddle_handler(void);

/** The id of the event that began this chain of events. */
const char *heddle_correlation(void);

/** What is left of `limits.time`, in milliseconds of run time. The one answer that is not the same on every run
    of an event. */
uint32_t heddle_deadline_ms(void);

/* ---- Config ------------------------------------------------------------------------------------------- */

/** The value of a name in the handler's `config` table of `heddle.toml`, or NULL. */
const char *heddle_config(const char *name);

/*
 * The same, read as a number or a bool (`true` or `false`). If the name is not set, `value` stays as it is:
 *
 *     uint64_t limit = 1000;
 *     HEDDLE_TRY(heddle_config_u64("limit", &limit));
 *
 * HEDDLE_CONFIG if it is set to something else.
 */
HEDDLE_MUST_USE const heddle_error *heddle_config_u64(const char *name, uint64_t *value);
HEDDLE_MUST_USE const heddle_error *heddle_config_i64(const char *name, int64_t *value);
HEDDLE_MUST_USE const heddle_error *heddle_config_double(const char *name, double *value);
HEDDLE_MUST_USE const heddle_error *heddle_config_bool(const char *name, bool *value);

/* ---- Log ---------------------------------------------------------------------------------------------- */

typedef enum heddle_level {
    /** Every step. */
    HEDDLE_TRACE,
    /** For whoever looks for a fault. */
    HEDDLE_DEBUG,
    /** What happens in the ordinary course. */
    HEDDLE_INFO,
    /** Something is odd and nothing is lost. */
    HEDDLE_WARN,
    /** Something is lost, or someone must act. */
    HEDDLE_ERROR
} heddle_level;

/*
 * Log lines. They carry the event's id and the handler's name and are bounded in length and number for each event.
 * What is written to standard output and error goes to the same log.
 */
HEDDLE_FORMAT(2, 3) void heddle_log(heddle_level level, const char *format, ...);
#define heddle_log_trace(...) heddle_log(HEDDLE_TRACE, __VA_ARGS__)
#define heddle_log_debug(...) heddle_log(HEDDLE_DEBUG, __VA_ARGS__)
#define heddle_log_info(...) heddle_log(HEDDLE_INFO, __VA_ARGS__)
#define heddle_log_warn(...) heddle_log(HEDDLE_WARN, __VA_ARGS__)
#define heddle_log_error(...) heddle_log(HEDDLE_ERROR, __VA_ARGS__)

/* ---- Memory ------------------------------------------------------------------------------------------- */

/** Memory that lives until the event ends, aligned for every type, not zeroed. Never NULL: if there is no more
    memory, the handler traps. */
void *heddle_alloc(size_t size);

/** A text in such memory. */
HEDDLE_FORMAT(1, 2) char *heddle_printf(const char *format, ...);

#endif
