/*
 * The conformance guest: the verb is token 1 of the subject, `probe.<verb>.<key>`. It does the same as its siblings
 * in the other languages.
 */
#include <heddle.h>
#include <heddle_json.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/** `out.<verb>.<key>`. */
static const char *out(const heddle_event *event) {
    return heddle_printf("out.%s.%s", heddle_token(event, 1), event->key);
}

static bool is_of_host(const char *name) {
    return strncasecmp(name, "Nats-", 5) == 0 || strncasecmp(name, "Heddle-", 7) == 0 ||
           strcasecmp(name, "traceparent") == 0;
}

static heddle_verdict echo(const heddle_event *event) {
    heddle_header headers[64];
    size_t count = 0;
    for (size_t i = 0; i < event->header_count && count < 64; i++) {
        if (!is_of_host(event->headers[i].name)) {
            headers[count++] = event->headers[i];
        }
    }
    HEDDLE_TRY(heddle_publish(&(heddle_message){
        .subject = out(event), .payload = event->payload, .headers = headers, .header_count = count}));
    return HEDDLE_DONE;
}

static heddle_verdict headers(const heddle_event *event) {
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *list = heddle_json_array(doc);
    for (size_t i = 0; i < event->header_count; i++) {
        yyjson_mut_val *pair = yyjson_mut_arr_add_arr(doc, list);
        yyjson_mut_arr_add_str(doc, pair, event->headers[i].name);
        yyjson_mut_arr_add_str(doc, pair, event->headers[i].value);
    }
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

static bool begins_character(char byte) {
    return ((uint8_t)byte & 0xc0) != 0x80;
}

static heddle_verdict text(const heddle_event *event) {
    const char *given;
    HEDDLE_TRY(heddle_event_text(event, &given));
    size_t len = event->payload.len;
    char *reversed = heddle_alloc(len + 1);
    size_t chars = 0;
    size_t to = 0;
    for (size_t end = len; end > 0;) {
        size_t start = end - 1;
        while (!begins_character(given[start])) {
            start--;
        }
        memcpy(reversed + to, given + start, end - start);
        to += end - start;
        end = start;
        chars++;
    }
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *answer = heddle_json_object(doc);
    yyjson_mut_obj_add_uint(doc, answer, "chars", chars);
    yyjson_mut_obj_add_strn(doc, answer, "reversed", reversed, len);
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

static heddle_verdict json(const heddle_event *event) {
    static const char hello[] = "hello ";
    const size_t before = sizeof hello - 1;
    heddle_json given;
    heddle_bytes name;
    int64_t n;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_bytes(given, "name", &name));
    HEDDLE_TRY(heddle_json_i64(given, "n", &n));
    char *greeting = heddle_alloc(before + name.len);
    memcpy(greeting, hello, before);
    memcpy(greeting + before, name.data, name.len);
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *answer = heddle_json_object(doc);
    yyjson_mut_obj_add_strn(doc, answer, "greeting", greeting, before + name.len);
    yyjson_mut_obj_add_sint(doc, answer, "next", n + 1);
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

static heddle_verdict verdict(const heddle_event *event) {
    HEDDLE_TRY(heddle_publish_text(out(event), "forgotten"));
    heddle_json given;
    const char *wanted;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_string(given, "verdict", &wanted));
    if (strcmp(wanted, "done") == 0) {
        return HEDDLE_DONE;
    }
    const char *reason;
    HEDDLE_TRY(heddle_json_string(given, "reason", &reason));
    if (strcmp(wanted, "retry") == 0) {
        return heddle_retry("%s", reason);
    }
    if (strcmp(wanted, "defer") == 0) {
        uint64_t delay_ms;
        HEDDLE_TRY(heddle_json_u64(given, "delay_ms", &delay_ms));
        return heddle_defer((uint32_t)delay_ms, "%s", reason);
    }
    return heddle_reject("%s", reason);
}

static heddle_verdict count(const heddle_event *event) {
    heddle_json state;
    uint64_t n = 0;
    HEDDLE_TRY(heddle_state_get_json(&state));
    if (state.value != NULL) {
        HEDDLE_TRY(heddle_json_u64(state, NULL, &n));
    }
    const char *next = heddle_printf("%" PRIu64, n + 1);
    HEDDLE_TRY(heddle_state_set_text(next));
    HEDDLE_TRY(heddle_publish_text(out(event), next));
    return HEDDLE_DONE;
}

static heddle_verdict state(const heddle_event *event) {
    heddle_json given;
    const char *op;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_string(given, "op", &op));
    if (strcmp(op, "set") == 0) {
        heddle_bytes value;
        HEDDLE_TRY(heddle_json_bytes(given, "value", &value));
        HEDDLE_TRY(heddle_state_set(value.data, value.len));
    } else if (strcmp(op, "set-bytes") == 0) {
        heddle_json list;
        HEDDLE_TRY(heddle_json_field(given, "value", &list));
        uint8_t *bytes = heddle_alloc(yyjson_arr_size(list.value));
        size_t index, len;
        yyjson_val *byte;
        yyjson_arr_foreach(list.value, index, len, byte) {
            bytes[index] = (uint8_t)yyjson_get_uint(byte);
        }
        HEDDLE_TRY(heddle_state_set(bytes, len));
    } else if (strcmp(op, "clear") == 0) {
        heddle_state_clear();
    }
    heddle_bytes bytes;
    const char *held;
    bool some = heddle_state_get(&bytes);
    bool is_text = heddle_state_get_text(&held) == NULL && held != NULL;
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *answer = heddle_json_object(doc);
    yyjson_mut_obj_add_val(doc, answer, "state", is_text ? yyjson_mut_strn(doc, held, bytes.len) : yyjson_mut_null(doc));
    yyjson_mut_obj_add_val(doc, answer, "bytes", some ? yyjson_mut_uint(doc, bytes.len) : yyjson_mut_null(doc));
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

__attribute__((noinline)) static void deep(const char *message) {
    fprintf(stderr, "%s\n", message);
    abort();
}

__attribute__((noinline)) static void deeper(const char *message) {
    deep(message);
}

/** Fails at as many attempts as the event says, and counts after that. */
static heddle_verdict fail(const heddle_event *event) {
    heddle_json fate;
    uint64_t times;
    const char *wanted;
    HEDDLE_TRY(heddle_event_json(event, &fate));
    HEDDLE_TRY(heddle_json_u64(fate, "times", &times));
    HEDDLE_TRY(heddle_json_string(fate, "verdict", &wanted));
    if (heddle_attempt() > times) {
        return count(event);
    }
    if (strcmp(wanted, "retry") == 0) {
        return heddle_retry("asked to");
    }
    if (strcmp(wanted, "reject") == 0) {
        return heddle_reject("asked to");
    }
    deeper("asked to");
    return HEDDLE_DONE;
}

static heddle_verdict later(const heddle_event *event) {
    heddle_json given;
    uint64_t seconds;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_u64(given, "seconds", &seconds));
    HEDDLE_TRY(heddle_publish(&(heddle_message){
        .subject = out(event), .payload = heddle_text("later"), .delay_s = (uint32_t)seconds}));
    return HEDDLE_DONE;
}

static heddle_verdict reply(const heddle_event *event) {
    const heddle_header yes = {"X-Probe", "yes"};
    HEDDLE_TRY(heddle_reply(event->payload, &yes, 1));
    return HEDDLE_DONE;
}

static heddle_verdict context(const heddle_event *event) {
    uint32_t deadline = heddle_deadline_ms();
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *answer = heddle_json_object(doc);
    yyjson_mut_obj_add_str(doc, answer, "id", event->id);
    yyjson_mut_obj_add_str(doc, answer, "subject", event->subject);
    yyjson_mut_obj_add_str(doc, answer, "key", event->key);
    yyjson_mut_obj_add_uint(doc, answer, "attempt", heddle_attempt());
    yyjson_mut_obj_add_str(doc, answer, "stream", heddle_stream());
    yyjson_mut_obj_add_uint(doc, answer, "sequence", heddle_sequence());
    yyjson_mut_obj_add_str(doc, answer, "handler", heddle_handler());
    yyjson_mut_obj_add_str(doc, answer, "correlation", heddle_correlation());
    yyjson_mut_obj_add_sint(doc, answer, "time_s", event->time.tv_sec);
    yyjson_mut_obj_add_sint(doc, answer, "time_ns", event->time.tv_nsec);
    yyjson_mut_obj_add_bool(doc, answer, "deadline", deadline > 0 && deadline <= 60000);
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

static heddle_verdict config(const heddle_event *event) {
    const char *name;
    HEDDLE_TRY(heddle_event_text(event, &name));
    const char *value = heddle_config(name);
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_doc_set_root(doc, value != NULL ? yyjson_mut_str(doc, value) : yyjson_mut_null(doc));
    HEDDLE_TRY(heddle_publish_json(out(event), doc));
    return HEDDLE_DONE;
}

static heddle_verdict log_lines(void) {
    heddle_log_trace("at trace");
    heddle_log_debug("at debug");
    heddle_log_info("at info");
    heddle_log_warn("at warn");
    heddle_log_error("at error");
    printf("printed out\n");
    fprintf(stderr, "printed err\n");
    return HEDDLE_DONE;
}

static heddle_verdict throw_text(const heddle_event *event) {
    const char *message;
    HEDDLE_TRY(heddle_event_text(event, &message));
    deeper(message);
    return HEDDLE_DONE;
}

static heddle_verdict caught(const heddle_event *event) {
    const heddle_error *error = heddle_publish_text("secret.x", "x");
    if (error != NULL && error->kind == HEDDLE_NOT_GRANTED) {
        yyjson_mut_doc *doc = heddle_json_new();
        yyjson_mut_val *answer = heddle_json_object(doc);
        yyjson_mut_obj_add_str(doc, answer, "kind", "not-granted");
        yyjson_mut_obj_add_str(doc, answer, "text", error->text);
        HEDDLE_TRY(heddle_publish_json(out(event), doc));
    }
    size_t size = 1000000;
    error = heddle_state_set(memset(heddle_alloc(size), 0, size), size);
    if (error != NULL && error->kind == HEDDLE_TOO_LARGE) {
        yyjson_mut_doc *doc = heddle_json_new();
        yyjson_mut_val *answer = heddle_json_object(doc);
        yyjson_mut_obj_add_str(doc, answer, "kind", "too-large");
        yyjson_mut_obj_add_uint(doc, answer, "limit", error->limit);
        HEDDLE_TRY(heddle_publish_json(out(event), doc));
    }
    return HEDDLE_DONE;
}

static heddle_verdict many(const heddle_event *event) {
    heddle_json given;
    uint64_t n;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_u64(given, "n", &n));
    const char *subject = out(event);
    for (uint64_t i = 0; i < n; i++) {
        HEDDLE_TRY(heddle_publish_text(subject, heddle_printf("%" PRIu64, i)));
    }
    return HEDDLE_DONE;
}

static heddle_verdict large(const heddle_event *event) {
    heddle_json given;
    uint64_t bytes;
    HEDDLE_TRY(heddle_event_json(event, &given));
    HEDDLE_TRY(heddle_json_u64(given, "bytes", &bytes));
    size_t len = (size_t)bytes;
    HEDDLE_TRY(heddle_publish_bytes(out(event), memset(heddle_alloc(len), 0x61, len), len));
    return HEDDLE_DONE;
}

static _Noreturn void loop(void) {
    for (volatile uint64_t turns = 0;; turns = turns + 1) {
    }
}

static _Noreturn void allocate(void) {
    size_t size = (size_t)1 << 20;
    for (;;) {
        memset(heddle_alloc(size), 1, size);
    }
}

/* Volatile, so that the compiler makes no loop of it. */
static volatile uint64_t depth = 0;

__attribute__((noinline)) static uint64_t descend(void) {
    depth = depth + 1;
    return depth > 0 ? descend() + depth : 0;
}

static heddle_verdict recurse(void) {
    return heddle_reject("came back from %" PRIu64, descend());
}

static heddle_verdict clock_now(const heddle_event *event) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    HEDDLE_TRY(heddle_publish_text(out(event), heddle_printf("{\"now_ms\":%" PRId64 "}", now_ms)));
    return HEDDLE_DONE;
}

static heddle_verdict random_numbers(const heddle_event *event) {
    int first = rand(), second = rand(), third = rand();
    HEDDLE_TRY(heddle_publish_text(out(event), heddle_printf("[%d,%d,%d]", first, second, third)));
    return HEDDLE_DONE;
}

static heddle_verdict global(const heddle_event *event) {
    static uint64_t events = 0;
    events++;
    HEDDLE_TRY(heddle_publish_text(out(event), heddle_printf("%" PRIu64, events)));
    return HEDDLE_DONE;
}

static heddle_verdict refused(void) {
    HEDDLE_TRY(heddle_publish_text("secret.x", "x"));
    return HEDDLE_DONE;
}

static heddle_verdict async(const heddle_event *event) {
    HEDDLE_TRY(heddle_publish_text(out(event), "\"awaited\""));
    return HEDDLE_DONE;
}

heddle_verdict handle(const heddle_event *event) {
    const char *verb = heddle_token(event, 1);
    if (verb == NULL) {
        return heddle_reject("no verb");
    }
    if (strcmp(verb, "echo") == 0) return echo(event);
    if (strcmp(verb, "headers") == 0) return headers(event);
    if (strcmp(verb, "text") == 0) return text(event);
    if (strcmp(verb, "json") == 0) return json(event);
    if (strcmp(verb, "verdict") == 0) return verdict(event);
    if (strcmp(verb, "count") == 0) return count(event);
    if (strcmp(verb, "fail") == 0) return fail(event);
    if (strcmp(verb, "state") == 0) return state(event);
    if (strcmp(verb, "later") == 0) return later(event);
    if (strcmp(verb, "reply") == 0) return reply(event);
    if (strcmp(verb, "context") == 0) return context(event);
    if (strcmp(verb, "config") == 0) return config(event);
    if (strcmp(verb, "log") == 0) return log_lines();
    if (strcmp(verb, "throw") == 0) return throw_text(event);
    if (strcmp(verb, "refused") == 0) return refused();
    if (strcmp(verb, "caught") == 0) return caught(event);
    if (strcmp(verb, "many") == 0) return many(event);
    if (strcmp(verb, "large") == 0) return large(event);
    if (strcmp(verb, "loop") == 0) loop();
    if (strcmp(verb, "allocate") == 0) allocate();
    if (strcmp(verb, "recurse") == 0) return recurse();
    if (strcmp(verb, "clock") == 0) return clock_now(event);
    if (strcmp(verb, "random") == 0) return random_numbers(event);
    if (strcmp(verb, "global") == 0) return global(event);
    if (strcmp(verb, "async") == 0) return async(event);
    return heddle_reject("unknown verb `%s`", verb);
}
