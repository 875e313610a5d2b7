/*
 * What is the same in a plugin and in its tests: texts, errors, verdicts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#include <inttypes.h>
#include <string.h>

heddle_bytes heddle_text(const char *text) {
    return (heddle_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- UTF-8 -------------------------------------------------------------------------------------------- */

/** The length of the character at the start, or 0 if it is faulty: then `bad` is how many bytes are, or 0 if the
    bytes end within a character. */
static size_t utf8_character(const uint8_t *data, size_t len, size_t *bad) {
    uint8_t lead = data[0];
    if (lead < 0x80) {
        return 1;
    }
    *bad = 1;
    size_t size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < size; i++) {
        if (i == len) {
            *bad = 0;
            return 0;
        }
        if (data[i] < least || data[i] > most) {
            *bad = i;
            return 0;
        }
        least = 0x80;
        most = 0xbf;
    }
    return size;
}

/** How many bytes at the start are UTF-8. */
static size_t utf8_prefix(const uint8_t *data, size_t len, size_t *bad) {
    size_t at = 0;
    while (at < len) {
        uint64_t eight;
        while (len - at >= sizeof eight) {
            memcpy(&eight, data + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) != 0) {
                break;
            }
            at += sizeof eight;
        }
        if (at == len) {
            break;
        }
        size_t size = utf8_character(data + at, len - at, bad);
        if (size == 0) {
            break;
        }
        at += size;
    }
    return at;
}

const char *heddle_utf8_fault(const uint8_t *data, size_t len) {
    size_t bad = 0;
    size_t at = utf8_prefix(data, len, &bad);
    if (at == len) {
        return NULL;
    }
    if (bad == 0) {
        return heddle_printf("incomplete utf-8 byte sequence from index %zu", at);
    }
    return heddle_printf("invalid utf-8 sequence of %zu bytes from index %zu", bad, at);
}

const char *heddle_utf8_lossy(const char *text) {
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    const uint8_t *rest = (const uint8_t *)text;
    size_t left = strlen(text);
    size_t bad = 0;
    size_t good = utf8_prefix(rest, left, &bad);
    if (good == left) {
        return text;
    }
    char *copy = heddle_arena_alloc(left * 3 + 1, 1);
    char *to = copy;
    while (true) {
        memcpy(to, rest, good);
        to += good;
        if (good == left) {
            break;
        }
        memcpy(to, REPLACEMENT, 3);
        to += 3;
        size_t skipped = bad == 0 ? left - good : bad;
        rest += good + skipped;
        left -= good + skipped;
        good = utf8_prefix(rest, left, &bad);
    }
    *to = '\0';
    return copy;
}

/* ---- The event ---------------------------------------------------------------------------------------- */

/** The start of a token of a subject and its length, or NULL. */
static const char *find_token(const char *subject, size_t index, size_t *len) {
    for (; index > 0; index--) {
        subject = strchr(subject, '.');
        if (subject == NULL) {
            return NULL;
        }
        subject++;
    }
    *len = strcspn(subject, ".");
    return subject;
}

const char *heddle_token(const heddle_event *event, size_t index) {
    size_t len;
    const char *token = find_token(event->subject, index, &len);
    if (token == NULL) {
        return NULL;
    }
    char *copy = heddle_arena_alloc(len + 1, 1);
    memcpy(copy, token, len);
    copy[len] = '\0';
    return copy;
}

bool heddle_token_is(const heddle_event *event, size_t index, const char *expected) {
    size_t len;
    const char *token = find_token(event->subject, index, &len);
    return token != NULL && strlen(expected) == len && memcmp(token, expected, len) == 0;
}

const char *heddle_header_nth(const heddle_event *event, const char *name, size_t nth) {
    for (size_t i = 0; i < event->header_count; i++) {
        if (strcmp(event->headers[i].name, name) == 0 && nth-- == 0) {
            return event->headers[i].value;
        }
    }
    return NULL;
}

const char *heddle_header_value(const heddle_event *event, const char *name) {
    return heddle_header_nth(event, name, 0);
}

static const heddle_error *read_text(heddle_bytes bytes, const char *source, const char **text) {
    const char *fault = heddle_utf8_fault(bytes.data, bytes.len);
    if (fault != NULL) {
        return heddle_error_new(HEDDLE_DECODE, 0, "cannot decode the %s: %s", source, fault);
    }
    /* The host puts a NUL behind all that it gives. */
    *text = (const char *)bytes.data;
    return NULL;
}

const heddle_error *heddle_event_text(const heddle_event *event, const char **text) {
    return read_text(event->payload, "payload", text);
}

/* ---- Errors and verdicts ------------------------------------------------------------------------------ */

const heddle_error *heddle_error_new(heddle_error_kind kind, uint64_t limit, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    heddle_error *error = heddle_alloc(sizeof *error);
    *error = (heddle_error){kind, limit, heddle_vprintf(format, arguments)};
    va_end(arguments);
    return error;
}

static heddle_verdict failure(heddle_verdict_kind kind, uint32_t delay_ms, const char *format, va_list arguments) {
    return (heddle_verdict){kind, delay_ms, heddle_vprintf(format, arguments)};
}

heddle_verdict heddle_retry(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    heddle_verdict verdict = failure(HEDDLE_VERDICT_RETRY, 0, format, arguments);
    va_end(arguments);
    return verdict;
}

heddle_verdict heddle_defer(uint32_t delay_ms, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    heddle_verdict verdict = failure(HEDDLE_VERDICT_DEFER, delay_ms, format, arguments);
    va_end(arguments);
    return verdict;
}

heddle_verdict heddle_reject(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    heddle_verdict verdict = failure(HEDDLE_VERDICT_REJECT, 0, format, arguments);
    va_end(arguments);
    return verdict;
}

heddle_verdict heddle_failed(const heddle_error *error) {
    heddle_verdict_kind kind = error->kind == HEDDLE_CONFIG ? HEDDLE_VERDICT_RETRY : HEDDLE_VERDICT_REJECT;
    return (heddle_verdict){kind, 0, error->text};
}

/* ---- Effects and state -------------------------------------------------------------------------------- */

/** The error of an effect, such as "publish on `out.x`", that was refused. */
static const heddle_error *refused(const char *effect, heddle_refusal why) {
    switch (why.kind) {
    case HEDDLE_NOT_GRANTED:
        return heddle_error_new(why.kind, 0, "%s refused: not granted: %s", effect, why.text);
    case HEDDLE_TOO_LARGE:
        return heddle_error_new(why.kind, why.limit, "%s refused: too large: the limit is %" PRIu64 " bytes", effect,
                                why.limit);
    case HEDDLE_TOO_MANY:
        return heddle_error_new(why.kind, why.limit, "%s refused: too many messages: the limit is %" PRIu64, effect,
                                why.limit);
    default:
        return heddle_error_new(HEDDLE_INVALID, 0, "%s refused: invalid: %s", effect, why.text);
    }
}

static const heddle_error *publish_refused(const char *subject, heddle_refusal why) {
    return refused(heddle_printf("publish on `%s`", heddle_utf8_lossy(subject)), why);
}

/** Whether the host can read the text. */
static bool is_utf8(const char *text) {
    size_t bad;
    size_t len = strlen(text);
    return utf8_prefix((const uint8_t *)text, len, &bad) == len;
}

/** Whether the host can read the headers; else `why` is set. */
static bool check_headers(const heddle_header *headers, size_t header_count, heddle_refusal *why) {
    for (size_t i = 0; i < header_count; i++) {
        if (!is_utf8(headers[i].name) || !is_utf8(headers[i].value)) {
            const char *name = heddle_utf8_lossy(headers[i].name);
            *why = (heddle_refusal){HEDDLE_INVALID, 0, heddle_printf("header `%s` is not UTF-8", name)};
            return false;
        }
    }
    return true;
}

const heddle_error *heddle_publish(const heddle_message *message) {
    heddle_refusal why;
    if (!is_utf8(message->subject)) {
        const char *text = heddle_printf("subject `%s` is not UTF-8", heddle_utf8_lossy(message->subject));
        why = (heddle_refusal){HEDDLE_INVALID, 0, text};
    } else if (check_headers(message->headers, message->header_count, &why) && heddle_host_publish(message, &why)) {
        return NULL;
    }
    return publish_refused(message->subject, why);
}

const heddle_error *heddle_publish_text(const char *subject, const char *text) {
    return heddle_publish(&(heddle_message){.subject = subject, .payload = heddle_text(text)});
}

const heddle_error *heddle_publish_bytes(const char *subject, const void *data, size_t len) {
    return heddle_publish(&(heddle_message){.subject = subject, .payload = {data, len}});
}

const heddle_error *heddle_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count) {
    heddle_refusal why;
    if (check_headers(headers, header_count, &why) && heddle_host_reply(payload, headers, header_count, &why)) {
        return NULL;
    }
    return refused("reply", why);
}

const heddle_error *heddle_state_get_text(const char **text) {
    heddle_bytes value;
    *text = NULL;
    return heddle_state_get(&value) ? read_text(value, "state", text) : NULL;
}

const heddle_error *heddle_state_set(const void *data, size_t len) {
    heddle_refusal why;
    return heddle_host_set_state(data, len, &why) ? NULL : refused("state", why);
}

const heddle_error *heddle_state_set_text(const char *text) {
    return heddle_state_set(text, strlen(text));
}

/* ---- Log ---------------------------------------------------------------------------------------------- */

void heddle_log(heddle_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    heddle_host_log(level, heddle_utf8_lossy(heddle_vprintf(format, arguments)));
    va_end(arguments);
}
