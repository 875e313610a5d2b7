/*
 * The double of the host, for tests: one event at a time, judged by the rules of the contract.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#ifndef __wasm__

#include "heddle_test.h"
#include "yyjson.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_HEADERS 64
#define START_OF_2026 INT64_C(1767225600)

/* ---- Memory of a test --------------------------------------------------------------------------------- */

/** A block that lives as long as its test. */
typedef struct block {
    struct block *next;
    max_align_t content[];
} block;

/** A name with its value: a setting, or the state of a key. */
typedef struct entry {
    struct entry *next;
    const char *name;
    heddle_bytes value;
    bool is_set;
} entry;

typedef struct pattern {
    struct pattern *next;
    const char *text;
} pattern;

struct heddle_test {
    block *blocks;
    const char *name;
    const char *stream;
    const char *key_template;
    pattern *publishes;
    entry *config;
    entry *states;
    heddle_limits limits;
    uint64_t last_sequence;
};

/** What a handler can ask for or change while its event runs. */
typedef struct world {
    heddle_test *test;
    uint32_t attempt;
    uint64_t sequence;
    const char *correlation;
    const char *reply_to;
    bool has_state;
    heddle_bytes state;
    heddle_published *messages;
    size_t message_count;
    bool has_reply;
    heddle_published reply;
    uint64_t output;
    heddle_log_line *logs;
    size_t log_count;
} world;

static world *running = NULL;

static void *take(heddle_test *test, size_t size) {
    block *taken = malloc(sizeof *taken + size);
    if (taken == NULL) {
        abort();
    }
    taken->next = test->blocks;
    test->blocks = taken;
    return taken->content;
}

/** A copy with a NUL behind it. */
static heddle_bytes copy_bytes(heddle_test *test, heddle_bytes bytes) {
    uint8_t *copy = take(test, bytes.len + 1);
    if (bytes.len > 0) {
        memcpy(copy, bytes.data, bytes.len);
    }
    copy[bytes.len] = '\0';
    return (heddle_bytes){copy, bytes.len};
}

static const char *copy_text(heddle_test *test, const char *text) {
    return (const char *)copy_bytes(test, heddle_text(text)).data;
}

static const heddle_header *copy_headers(heddle_test *test, const heddle_header *headers, size_t count) {
    heddle_header *copy = take(test, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = (heddle_header){copy_text(test, headers[i].name), copy_text(test, headers[i].value)};
    }
    return copy;
}

/** A list with one more element of `size` at its end, which is not yet filled. */
static void *longer(heddle_test *test, const void *list, size_t count, size_t size) {
    void *copy = take(test, (count + 1) * size);
    if (count > 0) {
        memcpy(copy, list, count * size);
    }
    return copy;
}

static entry *find(entry *entries, const char *name) {
    while (entries != NULL && strcmp(entries->name, name) != 0) {
        entries = entries->next;
    }
    return entries;
}

static entry *find_or_add(heddle_test *test, entry **entries, const char *name) {
    entry *found = find(*entries, name);
    if (found == NULL) {
        found = take(test, sizeof *found);
        *found = (entry){*entries, copy_text(test, name), {NULL, 0}, false};
        *entries = found;
    }
    return found;
}

static _Noreturn void fail(const char *file, int line, const char *format, ...) HEDDLE_FORMAT(3, 4);

static _Noreturn void fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (file != NULL) {
        fprintf(stderr, "%s:%d: ", file, line);
    }
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- Rules -------------------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/** Whether a pattern with `*` and `>` covers a subject. */
static bool covers(const char *pattern_text, const char *subject) {
    while (true) {
        size_t part = strcspn(pattern_text, ".");
        size_t token = strcspn(subject, ".");
        bool is_rest = part == 1 && *pattern_text == '>';
        bool is_any = part == 1 && *pattern_text == '*';
        if (is_rest) {
            return true;
        }
        if (!is_any && (part != token || strncmp(pattern_text, subject, part) != 0)) {
            return false;
        }
        pattern_text += part;
        subject += token;
        if (*pattern_text == '\0' || *subject == '\0') {
            return *pattern_text == *subject;
        }
        pattern_text++;
        subject++;
    }
}

static bool has_empty_token(const char *subject) {
    size_t len = strlen(subject);
    return len == 0 || subject[0] == '.' || subject[len - 1] == '.' || strstr(subject, "..") != NULL;
}

static bool has_space(const char *subject) {
    for (; *subject != '\0'; subject++) {
        if ((uint8_t)*subject <= ' ' || *subject == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool is_reserved(const char *subject) {
    return begins(subject, "$") || begins(subject, "_heddle.") || begins(subject, "_INBOX.") || begins(subject, "dead.");
}

static bool invalid(heddle_refusal *why, const char *text) {
    *why = (heddle_refusal){HEDDLE_INVALID, 0, text};
    return false;
}

/** Checks a subject on which a handler may publish. */
static bool check_subject(const char *subject, const pattern *publishes, heddle_refusal *why) {
    const char *problem = has_empty_token(subject)                ? "has an empty token"
                          : has_space(subject)                    ? "has a space or a control character"
                          : strpbrk(subject, "*>") != NULL        ? "has a wildcard"
                          : is_reserved(subject)                  ? "is reserved"
                                                                  : NULL;
    if (problem != NULL) {
        return invalid(why, heddle_printf("subject `%s` %s", subject, problem));
    }
    for (const pattern *each = publishes; each != NULL; each = each->next) {
        if (covers(each->text, subject)) {
            return true;
        }
    }
    if (publishes != NULL) {
        const char *text = heddle_printf("subject `%s` is outside of `publishes`", subject);
        *why = (heddle_refusal){HEDDLE_NOT_GRANTED, 0, text};
        return false;
    }
    return true;
}

static bool is_plain_name(const char *name) {
    for (; *name != '\0'; name++) {
        if (*name <= ' ' || *name >= 0x7f || *name == ':') {
            return false;
        }
    }
    return true;
}

static bool is_of_host(const char *name) {
    return strncasecmp(name, "nats-", 5) == 0 || strncasecmp(name, "heddle-", 7) == 0 ||
           strcasecmp(name, "traceparent") == 0;
}

/** Checks the headers of a message or a reply. */
static bool check_headers(const heddle_header *headers, size_t count, heddle_refusal *why) {
    if (count > MOST_HEADERS) {
        return invalid(why, heddle_printf("%zu headers, more than %d", count, MOST_HEADERS));
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = headers[i].name;
        const char *problem = *name == '\0'                                ? "has no name"
                              : !is_plain_name(name)                       ? "has a name that is not of plain characters"
                              : is_of_host(name)                           ? "is set by the host alone"
                              : strpbrk(headers[i].value, "\r\n") != NULL ? "has a line break in its value"
                                                                           : NULL;
        if (problem != NULL) {
            return invalid(why, heddle_printf("header `%s` %s", name, problem));
        }
    }
    return true;
}

/** The output of an event is the sum of what its messages and its reply hold. */
static bool add_output(world *in, const heddle_published *next, heddle_refusal *why) {
    uint64_t size = strlen(next->subject) + next->payload.len;
    for (size_t i = 0; i < next->header_count; i++) {
        size += strlen(next->headers[i].name) + strlen(next->headers[i].value);
    }
    uint64_t limit = in->test->limits.output;
    if (size > limit || in->output > limit - size) {
        *why = (heddle_refusal){HEDDLE_TOO_LARGE, limit, NULL};
        return false;
    }
    in->output += size;
    return true;
}

/* ---- What the handler calls --------------------------------------------------------------------------- */

static world *here(void) {
    if (running == NULL) {
        fail(NULL, 0, "outside of a plugin the host can only be called within `heddle_test_run`");
    }
    return running;
}

bool heddle_host_publish(const heddle_message *message, heddle_refusal *why) {
    world *in = here();
    heddle_test *test = in->test;
    heddle_published published = {message->subject, message->payload, message->headers, message->header_count,
                                  message->delay_s};
    if (!check_subject(message->subject, test->publishes, why) ||
        !check_headers(message->headers, message->header_count, why)) {
        return false;
    }
    if (in->message_count >= test->limits.messages) {
        *why = (heddle_refusal){HEDDLE_TOO_MANY, test->limits.messages, NULL};
        return false;
    }
    if (!add_output(in, &published, why)) {
        return false;
    }
    published.subject = copy_text(test, published.subject);
    published.payload = copy_bytes(test, published.payload);
    published.headers = copy_headers(test, published.headers, published.header_count);
    in->messages = longer(test, in->messages, in->message_count, sizeof published);
    in->messages[in->message_count++] = published;
    return true;
}

bool heddle_host_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count, heddle_refusal *why) {
    world *in = here();
    if (in->reply_to == NULL) {
        return invalid(why, "the event has no `Heddle-Reply-To` header");
    }
    if (!check_headers(headers, header_count, why)) {
        return false;
    }
    if (in->has_reply) {
        return invalid(why, "the event is answered already");
    }
    heddle_published reply = {in->reply_to, payload, headers, header_count, 0};
    if (!add_output(in, &reply, why)) {
        return false;
    }
    reply.payload = copy_bytes(in->test, payload);
    reply.headers = copy_headers(in->test, headers, header_count);
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
    in->state = copy_bytes(in->test, (heddle_bytes){data, len});
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
    running->logs[running->log_count++] = (heddle_log_line){level, copy_text(running->test, text)};
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
    const entry *found = find(here()->test->config, name);
    return found != NULL ? (const char *)found->value.data : NULL;
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
    test->name = copy_text(test, name);
}

void heddle_test_stream(heddle_test *test, const char *stream) {
    test->stream = copy_text(test, stream);
}

void heddle_test_key(heddle_test *test, const char *key_template) {
    test->key_template = copy_text(test, key_template);
}

void heddle_test_publishes(heddle_test *test, const char *text) {
    pattern *added = take(test, sizeof *added);
    *added = (pattern){test->publishes, copy_text(test, text)};
    test->publishes = added;
}

void heddle_test_config(heddle_test *test, const char *name, const char *value) {
    find_or_add(test, &test->config, name)->value = copy_bytes(test, heddle_text(value));
}

void heddle_test_limits(heddle_test *test, heddle_limits limits) {
    heddle_limits *set = &test->limits;
    set->messages = limits.messages != 0 ? limits.messages : set->messages;
    set->output = limits.output != 0 ? limits.output : set->output;
    set->state = limits.state != 0 ? limits.state : set->state;
    set->time_ms = limits.time_ms != 0 ? limits.time_ms : set->time_ms;
}

static void keep_state(heddle_test *test, const char *key, bool is_set, heddle_bytes state) {
    entry *kept = find_or_add(test, &test->states, key);
    kept->is_set = is_set;
    kept->value = state;
}

void heddle_test_given_state(heddle_test *test, const char *key, heddle_bytes state) {
    keep_state(test, key, true, copy_bytes(test, state));
}

/** A copy of the state, for it may change later. */
const heddle_bytes *heddle_test_state(heddle_test *test, const char *key) {
    const entry *kept = find(test->states, key);
    if (kept == NULL || !kept->is_set) {
        return NULL;
    }
    heddle_bytes *state = take(test, sizeof *state);
    *state = kept->value;
    return state;
}

/* ---- Keys --------------------------------------------------------------------------------------------- */

/** The value of a pointer into a JSON payload, if it is a string or a number. */
static const char *payload_value(heddle_test *test, heddle_bytes payload, const char *pointer) {
    yyjson_doc *doc = yyjson_read((const char *)payload.data, payload.len, YYJSON_READ_NOFLAG);
    yyjson_val *value = doc != NULL ? yyjson_doc_ptr_get(doc, pointer) : NULL;
    const char *text = NULL;
    if (yyjson_is_str(value)) {
        text = copy_text(test, yyjson_get_str(value));
    } else if (yyjson_is_num(value)) {
        char *number = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, NULL);
        text = copy_text(test, number);
        free(number);
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
            fail(NULL, 0, "key template `%s`: the token of a subject is a number", test->key_template);
        }
        return heddle_token(event, (size_t)strtoul(index, NULL, 10));
    }
    if (begins(part, "header.")) {
        return heddle_header_value(event, part + strlen("header."));
    }
    if (begins(part, "payload.")) {
        return payload_value(test, event->payload, part + strlen("payload."));
    }
    fail(NULL, 0,
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
            fail(NULL, 0, "key template `%s`: `{` without `}`", test->key_template);
        }
        const char *part = heddle_printf("%.*s", (int)(close - open - 1), open + 1);
        const char *value = part_value(test, part, event);
        if (value == NULL) {
            return NULL;
        }
        key = heddle_printf("%s%.*s%s", key, (int)(open - rest), rest, value);
        rest = close + 1;
    }
    return copy_text(test, heddle_printf("%s%s", key, rest));
}

/* ---- Running an event --------------------------------------------------------------------------------- */

/** The headers that the handler sees. */
static void set_headers(heddle_test *test, const heddle_test_event *given, heddle_event *event) {
    heddle_header *shown = take(test, (given->header_count + 1) * sizeof *shown);
    for (size_t i = 0; i < given->header_count; i++) {
        if (!begins(given->headers[i].name, "Nats-")) {
            shown[event->header_count++] = given->headers[i];
        }
    }
    if (given->reply_to != NULL) {
        shown[event->header_count++] = (heddle_header){"Heddle-Reply-To", given->reply_to};
    }
    event->headers = copy_headers(test, shown, event->header_count);
}

static heddle_event event_of(heddle_test *test, const heddle_test_event *given, uint64_t sequence) {
    heddle_event event = {
        .id = copy_text(test, heddle_printf("%s/%" PRIu64, test->stream, sequence)),
        .subject = copy_text(test, given->subject),
        .time = given->time,
        .payload = copy_bytes(test, given->payload),
    };
    if (event.time.tv_sec == 0 && event.time.tv_nsec == 0) {
        event.time.tv_sec = (time_t)(START_OF_2026 + (int64_t)sequence);
    }
    set_headers(test, given, &event);
    event.key = given->key != NULL ? copy_text(test, given->key) : key_of(test, &event);
    if (event.key == NULL) {
        fail(NULL, 0, "the event on `%s` lacks what the key template `%s` asks for", given->subject,
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
        .correlation = given->correlation != NULL ? copy_text(test, given->correlation) : event.id,
        .reply_to = heddle_header_value(&event, "Heddle-Reply-To"),
        .has_state = state != NULL,
        .state = state != NULL ? *state : (heddle_bytes){NULL, 0},
    };
    running = &in;
    heddle_verdict verdict = handle(&event);
    running = NULL;
    verdict.reason = verdict.reason != NULL ? copy_text(test, heddle_utf8_lossy(verdict.reason)) : NULL;
    heddle_run *run = take(test, sizeof *run);
    *run = (heddle_run){.verdict = verdict, .logs = in.logs, .log_count = in.log_count};
    if (verdict.kind == HEDDLE_VERDICT_DONE) {
        keep_state(test, event.key, in.has_state, in.state);
        run->messages = in.messages;
        run->message_count = in.message_count;
        if (in.has_reply) {
            heddle_published *reply = take(test, sizeof *reply);
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

/* ---- Expectations ------------------------------------------------------------------------------------- */

static const char *const VERDICTS[] = {"done", "retry", "defer", "reject"};

static const char *reason_of(const heddle_run *run) {
    return run->verdict.reason != NULL ? run->verdict.reason : "";
}

void heddle_expect_at(bool holds, const char *what, const char *file, int line) {
    if (!holds) {
        fail(file, line, "does not hold: %s", what);
    }
}

void heddle_expect_done_at(const heddle_run *run, const char *file, int line) {
    heddle_expect_verdict_at(run, HEDDLE_VERDICT_DONE, file, line);
}

const char *heddle_expect_verdict_at(const heddle_run *run, heddle_verdict_kind kind, const char *file, int line) {
    if (run->verdict.kind != kind) {
        fail(file, line, "expected the verdict %s, but: %s: %s", VERDICTS[kind], VERDICTS[run->verdict.kind],
             reason_of(run));
    }
    return reason_of(run);
}

const heddle_published *heddle_expect_message_at(const heddle_run *run, const char *subject, const char *file,
                                                 int line) {
    const heddle_published *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < run->message_count; i++) {
        if (strcmp(run->messages[i].subject, subject) == 0) {
            found = &run->messages[i];
            count++;
        }
    }
    if (count != 1) {
        fail(file, line, "expected one message on `%s`, but there are %zu among %zu; the verdict is %s: %s", subject,
             count, run->message_count, VERDICTS[run->verdict.kind], reason_of(run));
    }
    return found;
}

void heddle_expect_same_at(const char *actual, const char *expected, const char *file, int line) {
    bool both = actual != NULL && expected != NULL;
    if (both ? strcmp(actual, expected) != 0 : actual != expected) {
        fail(file, line, "expected `%s`, but: `%s`", expected != NULL ? expected : "(nothing)",
             actual != NULL ? actual : "(nothing)");
    }
}

void heddle_expect_text_at(heddle_bytes bytes, const char *text, const char *file, int line) {
    if (bytes.len != strlen(text) || (bytes.len > 0 && memcmp(bytes.data, text, bytes.len) != 0)) {
        fail(file, line, "expected `%s`, but: `%.*s`", text, (int)bytes.len, (const char *)bytes.data);
    }
}

void heddle_expect_json_at(heddle_bytes bytes, const char *json, const char *file, int line) {
    yyjson_doc *actual = yyjson_read((const char *)bytes.data, bytes.len, YYJSON_READ_NOFLAG);
    yyjson_doc *expected = yyjson_read(json, strlen(json), YYJSON_READ_NOFLAG);
    if (expected == NULL) {
        fail(file, line, "the test expects what is not JSON: `%s`", json);
    }
    if (!yyjson_equals(yyjson_doc_get_root(actual), yyjson_doc_get_root(expected))) {
        fail(file, line, "expected `%s`, but: `%.*s`", json, (int)bytes.len, (const char *)bytes.data);
    }
    yyjson_doc_free(actual);
    yyjson_doc_free(expected);
}

#endif
