/*
 * What the contract forbids.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
/* For strcasecmp. */
#define _DEFAULT_SOURCE

#include "double.h"

#ifndef __wasm__

#include <string.h>
#include <strings.h>

#define MOST_HEADERS 64

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

bool heddle_double_check_subject(const char *subject, const pattern *publishes, heddle_refusal *why) {
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

bool heddle_double_check_headers(const heddle_header *headers, size_t count, heddle_refusal *why) {
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

bool heddle_double_add_output(world *in, const heddle_published *next, heddle_refusal *why) {
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

#endif
