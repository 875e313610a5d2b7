/*
 * The double of the host, for tests: what the handler calls, one event at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "double.h"

#ifndef __wasm__

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory of a test --------------------------------------------------------------------------------- */

void *heddle_double_take(heddle_test *test, size_t size) {
    block *taken = malloc(sizeof *taken + size);
    if (taken == NULL) {
        abort();
    }
    taken->next = test->blocks;
    test->blocks = taken;
    return taken->content;
}

heddle_bytes heddle_double_bytes(heddle_test *test, heddle_bytes bytes) {
    uint8_t *copy = heddle_double_take(test, bytes.len + 1);
    if (bytes.len > 0) {
        memcpy(copy, bytes.data, bytes.len);
    }
    copy[bytes.len] = '\0';
    return (heddle_bytes){copy, bytes.len};
}

const char *heddle_double_text(heddle_test *test, const char *text) {
    return (const char *)heddle_double_bytes(test, heddle_text(text)).data;
}

const heddle_header *heddle_double_headers(heddle_test *test, const heddle_header *headers, size_t count) {
    heddle_header *copy = heddle_double_take(test, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = (heddle_header){heddle_double_text(test, headers[i].name), heddle_double_text(test, headers[i].value)};
    }
    return copy;
}

entry *heddle_double_find(entry *entries, const char *name) {
    while (entries != NULL && strcmp(entries->name, name) != 0) {
        entries = entries->next;
    }
    return entries;
}

entry *heddle_double_entry(heddle_test *test, entry **entries, const char *name) {
    entry *found = heddle_double_find(*entries, name);
    if (found == NULL) {
        found = heddle_double_take(test, sizeof *found);
        *found = (entry){*entries, heddle_double_text(test, name), {NULL, 0}, false};
        *entries = found;
    }
    return found;
}

/* ---- What the handler calls --------------------------------------------------------------------------- */

static world *running = NULL;

void heddle_double_enter(world *in) {
    running = in;
}

/** A list with one more element of `size` at its end, which is not yet filled. */
static void *longer(heddle_test *test, const void *list, size_t count, size_t size) {
    void *copy = heddle_double_take(test, (count + 1) * size);
    if (count > 0) {
        memcpy(copy, list, count * size);
    }
    return copy;
}

static bool invalid(heddle_refusal *why, const char *text) {
    *why = (heddle_refusal){HEDDLE_INVALID, 0, text};
    return false;
}

static world *here(void) {
    if (running == NULL) {
        heddle_double_fail(NULL, 0, "outside of a plugin the host can only be called within `heddle_test_run`");
    }
    return running;
}

bool heddle_host_publish(const heddle_message *message, heddle_refusal *why) {
    world *in = here();
    heddle_test *test = in->test;
    heddle_published published = {message->subject, message->payload, message->headers, message->header_count,
                                  message->delay_s};
    if (!heddle_double_check_subject(message->subject, test->publishes, why) ||
        !heddle_double_check_headers(message->headers, message->header_count, why)) {
        return false;
    }
    if (in->message_count >= test->limits.messages) {
        *why = (heddle_refusal){HEDDLE_TOO_MANY, test->limits.messages, NULL};
        return false;
    }
    if (!heddle_double_add_output(in, &published, why)) {
        return false;
    }
    published.subject = heddle_double_text(test, published.subject);
    published.payload = heddle_double_bytes(test, published.payload);
    published.headers = heddle_double_headers(test, published.headers, published.header_count);
    in->messages = longer(test, in->messages, in->message_count, sizeof published);
    in->messages[in->message_count++] = published;
    return true;
}

bool heddle_host_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count, heddle_refusal *why) {
    world *in = here();
    if (in->reply_to == NULL) {
        return invalid(why, "the event has no `Heddle-Reply-To` header");
    }
    if (!heddle_double_check_headers(headers, header_count, why)) {
        return false;
    }
    if (in->has_reply) {
        return invalid(why, "the event is answered already");
    }
    heddle_published reply = {in->reply_to, payload, headers, header_count, 0};
    if (!heddle_double_add_output(in, &reply, why)) {
        return false;
    }
    reply.payload = heddle_double_bytes(in->test, payload);
    reply.headers = heddle_double_headers(in->test, headers, header_count);
    in->reply = reply;
    in->has_reply = true;
    return true;
}

bool heddle_host_set_state(const void *data, size_t len, heddle_refusal *why) {
    world *in = here();
    if (len > in->test->limits.state) {
        *why = (heddle_refusal){HEDDLE_TOO_LARGE, in->test->limits.state, NULL};
        return false;
    }
    in->state = heddle_double_bytes(in->test, (heddle_bytes){data, len});
    in->has_state = true;
    return true;
}

/** A line outside of a run is shown, so that a function that logs can be tested by itself. */
void heddle_host_log(heddle_level level, const char *text) {
    static const char *const LEVELS[] = {"trace", "debug", "info", "warn", "error"};
    if (running == NULL) {
        fprintf(stderr, "%s: %s\n", LEVELS[level], text);
        return;
    }
    running->logs = longer(running->test, running->logs, running->log_count, sizeof *running->logs);
    running->logs[running->log_count++] = (heddle_log_line){level, heddle_double_text(running->test, text)};
}

bool heddle_state_get(heddle_bytes *value) {
    world *in = here();
    *value = in->has_state ? in->state : heddle_text("");
    return in->has_state;
}

void heddle_state_clear(void) {
    here()->has_state = false;
}

uint32_t heddle_attempt(void) {
    return here()->attempt;
}

const char *heddle_stream(void) {
    return here()->test->stream;
}

uint64_t heddle_sequence(void) {
    return here()->sequence;
}

const char *heddle_handler(void) {
    return here()->test->name;
}

const char *heddle_correlation(void) {
    return here()->correlation;
}

uint32_t heddle_deadline_ms(void) {
    return here()->test->limits.time_ms;
}

const char *heddle_config(const char *name) {
    const entry *found = heddle_double_find(here()->test->config, name);
    return found != NULL ? (const char *)found->value.data : NULL;
}

#endif
