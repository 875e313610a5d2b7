/*
 * A handler under test: its settings, the state it keeps for each key, and its runs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "double.h"

#ifndef __wasm__

#include "yyjson.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define START_OF_2026 INT64_C(1767225600)

static bool begins(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- The handler under test --------------------------------------------------------------------------- */

heddle_test *heddle_test_new(void) {
    heddle_test *test = malloc(sizeof *test);
    if (test == NULL) {
        abort();
    }
    *test = (heddle_test){
        .name = "handler",
        .stream = "TEST",
        .key_template = "{subject}",
        .limits = {.messages = 100, .output = UINT64_C(1) << 20, .state = UINT64_C(256) << 10, .time_ms = 2000},
    };
    return test;
}

void heddle_test_free(heddle_test *test) {
    while (test->blocks != NULL) {
        block *next = test->blocks->next;
        free(test->blocks);
        test->blocks = next;
    }
    free(test);
}

void heddle_test_name(heddle_test *test, const char *name) {
    test->name = heddle_double_text(test, name);
}

void heddle_test_stream(heddle_test *test, const char *stream) {
    test->stream = heddle_double_text(test, stream);
}

void heddle_test_key(heddle_test *test, const char *key_template) {
    test->key_template = heddle_double_text(test, key_template);
}

void heddle_test_publishes(heddle_test *test, const char *text) {
    pattern *added = heddle_double_take(test, sizeof *added);
    *added = (pattern){test->publishes, heddle_double_text(test, text)};
    test->publishes = added;
}

void heddle_test_config(heddle_test *test, const char *name, const char *value) {
    heddle_double_entry(test, &test->config, name)->value = heddle_double_bytes(test, heddle_text(value));
}

void heddle_test_limits(heddle_test *test, heddle_limits limits) {
    heddle_limits *set = &test->limits;
    set->messages = limits.messages != 0 ? limits.messages : set->messages;
    set->output = limits.output != 0 ? limits.output : set->output;
    set->state = limits.state != 0 ? limits.state : set->state;
    set->time_ms = limits.time_ms != 0 ? limits.time_ms : set->time_ms;
}

static void keep_state(heddle_test *test, const char *key, bool is_set, heddle_bytes state) {
    entry *kept = heddle_double_entry(test, &test->states, key);
    kept->is_set = is_set;
    kept->value = state;
}

void heddle_test_given_state(heddle_test *test, const char *key, heddle_bytes state) {
    keep_state(test, key, true, heddle_double_bytes(test, state));
}

/** A copy of the state, for it may change later. */
const heddle_bytes *heddle_test_state(heddle_test *test, const char *key) {
    const entry *kept = heddle_double_find(test->states, key);
    if (kept == NULL || !kept->is_set) {
        return NULL;
    }
    heddle_bytes *state = heddle_double_take(test, sizeof *state);
    *state = kept->value;
    return state;
}

/* ---- Keys --------------------------------------------------------------------------------------------- */

/** The value of a pointer into a JSON payload, if it is a string, a number or a truth value. A number is as it stands. */
static const char *payload_value(heddle_test *test, heddle_bytes payload, const char *pointer) {
    if (payload.len >= 3 && memcmp(payload.data, "\xef\xbb\xbf", 3) == 0) {
        payload.data += 3;
        payload.len -= 3;
    }
    yyjson_doc *doc = yyjson_read((const char *)payload.data, payload.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *value = doc != NULL ? yyjson_doc_ptr_get(doc, pointer) : NULL;
    const char *text = NULL;
    if (yyjson_is_str(value)) {
        text = heddle_double_text(test, yyjson_get_str(value));
    } else if (yyjson_is_raw(value)) {
        /* It is followed by the rest of the payload. */
        text = heddle_double_text(test, heddle_printf("%.*s", (int)yyjson_get_len(value), yyjson_get_raw(value)));
    } else if (yyjson_is_bool(value)) {
        text = yyjson_get_bool(value) ? "true" : "false";
    }
    yyjson_doc_free(doc);
    return text;
}

static const char *part_value(heddle_test *test, const char *part, const heddle_event *event) {
    if (strcmp(part, "subject") == 0) {
        return event->subject;
    }
    if (strcmp(part, "event") == 0) {
        return event->id;
    }
    if (begins(part, "subject.")) {
        const char *index = part + strlen("subject.");
        if (*index == '\0' || strspn(index, "0123456789") != strlen(index)) {
            heddle_double_fail(NULL, 0, "key template `%s`: the token of a subject is a number", test->key_template);
        }
        return heddle_token(event, (size_t)strtoul(index, NULL, 10));
    }
    if (begins(part, "header.")) {
        return heddle_header_value(event, part + strlen("header."));
    }
    if (begins(part, "payload.")) {
        return payload_value(test, event->payload, part + strlen("payload."));
    }
    heddle_double_fail(NULL, 0,
         "key template `%s`: a part is `subject`, `subject.N`, `header.NAME`, `payload./POINTER` or `event`",
         test->key_template);
}

/** The key that the template gives an event, or NULL if the event lacks a part of it. */
static const char *key_of(heddle_test *test, const heddle_event *event) {
    const char *key = "";
    const char *rest = test->key_template;
    for (const char *open; (open = strchr(rest, '{')) != NULL;) {
        const char *close = strchr(open, '}');
        if (close == NULL) {
            heddle_double_fail(NULL, 0, "key template `%s`: `{` without `}`", test->key_template);
        }
        const char *part = heddle_printf("%.*s", (int)(close - open - 1), open + 1);
        const char *value = part_value(test, part, event);
        if (value == NULL) {
            return NULL;
        }
        key = heddle_printf("%s%.*s%s", key, (int)(open - rest), rest, value);
        rest = close + 1;
    }
    return heddle_double_text(test, heddle_printf("%s%s", key, rest));
}

/* ---- Running an event --------------------------------------------------------------------------------- */

/** The headers that the handler sees. */
static void set_headers(heddle_test *test, const heddle_test_event *given, heddle_event *event) {
    heddle_header *shown = heddle_double_take(test, (given->header_count + 1) * sizeof *shown);
    for (size_t i = 0; i < given->header_count; i++) {
        if (!begins(given->headers[i].name, "Nats-")) {
            shown[event->header_count++] = given->headers[i];
        }
    }
    if (given->reply_to != NULL) {
        shown[event->header_count++] = (heddle_header){"Heddle-Reply-To", given->reply_to};
    }
    event->headers = heddle_double_headers(test, shown, event->header_count);
}

static heddle_event event_of(heddle_test *test, const heddle_test_event *given, uint64_t sequence) {
    heddle_event event = {
        .id = heddle_double_text(test, heddle_printf("%s/%" PRIu64, test->stream, sequence)),
        .subject = heddle_double_text(test, given->subject),
        .time = given->time,
        .payload = heddle_double_bytes(test, given->payload),
    };
    if (event.time.tv_sec == 0 && event.time.tv_nsec == 0) {
        event.time.tv_sec = (time_t)(START_OF_2026 + (int64_t)sequence);
    }
    set_headers(test, given, &event);
    event.key = given->key != NULL ? heddle_double_text(test, given->key) : key_of(test, &event);
    if (event.key == NULL) {
        heddle_double_fail(NULL, 0, "the event on `%s` lacks what the key template `%s` asks for", given->subject,
             test->key_template);
    }
    return event;
}

const heddle_run *heddle_test_run(heddle_test *test, const heddle_test_event *given) {
    uint64_t sequence = given->sequence != 0 ? given->sequence : test->last_sequence + 1;
    test->last_sequence = sequence;
    heddle_event event = event_of(test, given, sequence);
    const heddle_bytes *state = heddle_test_state(test, event.key);
    world in = {
        .test = test,
        .attempt = given->attempt != 0 ? given->attempt : 1,
        .sequence = sequence,
        .correlation = given->correlation != NULL ? heddle_double_text(test, given->correlation) : event.id,
        .reply_to = heddle_header_value(&event, "Heddle-Reply-To"),
        .has_state = state != NULL,
        .state = state != NULL ? *state : (heddle_bytes){NULL, 0},
    };
    heddle_double_enter(&in);
    heddle_verdict verdict = handle(&event);
    heddle_double_enter(NULL);
    verdict.reason = verdict.reason != NULL ? heddle_double_text(test, heddle_utf8_lossy(verdict.reason)) : NULL;
    heddle_run *run = heddle_double_take(test, sizeof *run);
    *run = (heddle_run){.verdict = verdict, .logs = in.logs, .log_count = in.log_count};
    if (verdict.kind == HEDDLE_VERDICT_DONE) {
        keep_state(test, event.key, in.has_state, in.state);
        run->messages = in.messages;
        run->message_count = in.message_count;
        if (in.has_reply) {
            heddle_published *reply = heddle_double_take(test, sizeof *reply);
            *reply = in.reply;
            run->reply = reply;
        }
    }
    run->state = heddle_test_state(test, event.key);
    heddle_arena_reset();
    return run;
}

const char *heddle_published_header(const heddle_published *message, const char *name) {
    for (size_t i = 0; i < message->header_count; i++) {
        if (strcmp(message->headers[i].name, name) == 0) {
            return message->headers[i].value;
        }
    }
    return NULL;
}

#endif
