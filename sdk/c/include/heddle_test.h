/**
 * Runs a handler without a host, under the same contract: for unit tests that need neither a server nor WebAssembly.
 *
 * Everywhere but in a plugin, `heddle_publish`, `heddle_state_get` and the others reach a double of the host. It
 * judges effects by the rules of the contract, and forgets them if the handler fails.
 *
 *     #include <heddle_test.h>
 *
 *     int main(void) {
 *         heddle_test *test = heddle_test_new();
 *         heddle_test_key(test, "{subject.2}");
 *         heddle_test_publishes(test, "greeting.sent");
 *         const heddle_run *run = heddle_test_run(test, &(heddle_test_event){.subject = "guest.came.ada"});
 *         heddle_expect_done(run);
 *         heddle_expect_text(heddle_expect_message(run, "greeting.sent")->payload, "hello ada");
 *         heddle_test_free(test);
 *     }
 *
 * An expectation that does not hold prints where and why, and ends the program with 1. What a test gives is copied;
 * what it is given belongs to the `heddle_test` and lives until `heddle_test_free`. Tests run one at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HEDDLE_TEST_H
#define HEDDLE_TEST_H

#include "heddle.h"

/* ---- The handler under test --------------------------------------------------------------------------- */

/** A handler under test: its settings, and the state that it keeps for each key. */
typedef struct heddle_test heddle_test;

/**
 * Tests the function `handle`. It is called `handler` and reads the stream `TEST`, its key is the whole subject, it
 * has no config, and it may publish on every subject.
 */
heddle_test *heddle_test_new(void);

/** Frees a test and all that it gave. */
void heddle_test_free(heddle_test *test);

/** The handler's name. */
void heddle_test_name(heddle_test *test, const char *name);

/** The stream it reads. */
void heddle_test_stream(heddle_test *test, const char *stream);

/** The template of the key, as in `heddle.toml`: `{subject}`, `{subject.2}`, `{header.Customer}`,
    `{payload./customer/id}` and `{event}`, which may be joined. */
void heddle_test_key(heddle_test *test, const char *key_template);

/** Adds a subject that it may publish on, with `*` and `>`. Without any it may publish on all. */
void heddle_test_publishes(heddle_test *test, const char *pattern);

/** Adds or replaces a setting. */
void heddle_test_config(heddle_test *test, const char *name, const char *value);

/** The `limits` table of a handler. */
typedef struct heddle_limits {
    /** The most messages for one event; 100 by default. */
    uint32_t messages;
    /** The most bytes of subjects, headers and payloads for one event; 1 MiB by default. */
    uint64_t output;
    /** The most bytes of the state of a key; 256 KiB by default. */
    uint64_t state;
    /** The run time that `heddle_deadline_ms` tells, in milliseconds; 2000 by default. It is not enforced. */
    uint32_t time_ms;
} heddle_limits;

/** The limits it runs under. What is 0 keeps its default. */
void heddle_test_limits(heddle_test *test, heddle_limits limits);

/** The state that earlier events of `key` have left. */
void heddle_test_given_state(heddle_test *test, const char *key, heddle_bytes state);

/** The state of `key` as the events so far have left it, or NULL. */
const heddle_bytes *heddle_test_state(heddle_test *test, const char *key);

/* ---- Running an event --------------------------------------------------------------------------------- */

/** An event to be. What is left out has the default that stands beside it. */
typedef struct heddle_test_event {
    const char *subject;
    /** Empty. */
    heddle_bytes payload;
    /** None. `Nats-…` headers are not shown to the handler, as by the host. */
    const heddle_header *headers;
    size_t header_count;
    /** Asks for an answer there, as the header `Heddle-Reply-To`. Without it a reply is refused. */
    const char *reply_to;
    /** What the template gives. */
    const char *key;
    /** The next one, beginning with 1. */
    uint64_t sequence;
    /** A second for each sequence, from the start of 2026. */
    struct timespec time;
    /** 1. */
    uint32_t attempt;
    /** The event's own id. */
    const char *correlation;
} heddle_test_event;

/** A message that was published, or a reply. */
typedef struct heddle_published {
    /** Of a reply the inbox. */
    const char *subject;
    heddle_bytes payload;
    /** Those that the handler gave. */
    const heddle_header *headers;
    size_t header_count;
    /** The delay after the commit, in seconds. */
    uint32_t delay_s;
} heddle_published;

/** A line of the handler's log. */
typedef struct heddle_log_line {
    heddle_level level;
    const char *message;
} heddle_log_line;

/** The verdict on one event and what it left. After a failure there are no messages, there is no reply, and the state
    is what it was before; only the log lines remain. */
typedef struct heddle_run {
    heddle_verdict verdict;
    /** What was published, in order. */
    const heddle_published *messages;
    size_t message_count;
    /** The answer to the event, or NULL. */
    const heddle_published *reply;
    /** The state of the event's key after the run, or NULL. */
    const heddle_bytes *state;
    /** What was logged, in order. Standard output and error are not caught. */
    const heddle_log_line *logs;
    size_t log_count;
} heddle_run;

/** Runs the next event. If it fails, its effects and its state are forgotten. The test fails if the event has no key:
    a host would not have run it. */
const heddle_run *heddle_test_run(heddle_test *test, const heddle_test_event *event);

/** The first value of a header of a message, or NULL. Upper and lower case differ. */
const char *heddle_published_header(const heddle_published *message, const char *name);

/* ---- Expectations ------------------------------------------------------------------------------------- */

/** That something holds. */
#define heddle_expect(holds) heddle_expect_at((holds), #holds, __FILE__, __LINE__)

/** That the event is done. */
#define heddle_expect_done(run) heddle_expect_done_at((run), __FILE__, __LINE__)

/** That the event is to be tried again. Gives the reason. */
#define heddle_expect_retry(run) heddle_expect_verdict_at((run), HEDDLE_VERDICT_RETRY, __FILE__, __LINE__)

/** That the event is deferred. Gives the reason; the delay is in `run->verdict.delay_ms`. */
#define heddle_expect_defer(run) heddle_expect_verdict_at((run), HEDDLE_VERDICT_DEFER, __FILE__, __LINE__)

/** That the event is rejected. Gives the reason. */
#define heddle_expect_reject(run) heddle_expect_verdict_at((run), HEDDLE_VERDICT_REJECT, __FILE__, __LINE__)

/** That there is one message on the subject, and no more. Gives it. */
#define heddle_expect_message(run, subject) heddle_expect_message_at((run), (subject), __FILE__, __LINE__)

/** That two texts are the same. */
#define heddle_expect_same(actual, expected) heddle_expect_same_at((actual), (expected), __FILE__, __LINE__)

/** That bytes are a text. */
#define heddle_expect_text(bytes, text) heddle_expect_text_at((bytes), (text), __FILE__, __LINE__)

/** That bytes are JSON of the same value as a text. The order of members does not matter. */
#define heddle_expect_json(bytes, json) heddle_expect_json_at((bytes), (json), __FILE__, __LINE__)

/* What the macros call. */
void heddle_expect_at(bool holds, const char *what, const char *file, int line);
void heddle_expect_done_at(const heddle_run *run, const char *file, int line);
const char *heddle_expect_verdict_at(const heddle_run *run, heddle_verdict_kind kind, const char *file, int line);
const heddle_published *heddle_expect_message_at(const heddle_run *run, const char *subject, const char *file,
                                                 int line);
void heddle_expect_same_at(const char *actual, const char *expected, const char *file, int line);
void heddle_expect_text_at(heddle_bytes bytes, const char *text, const char *file, int line);
void heddle_expect_json_at(heddle_bytes bytes, const char *json, const char *file, int line);

#endif
