/*
 * What a test expects.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "double.h"

#ifndef __wasm__

#include "yyjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void heddle_double_fail(const char *file, int line, const char *format, ...) {
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

static const char *const VERDICTS[] = {"done", "retry", "defer", "reject"};

static const char *reason_of(const heddle_run *run) {
    return run->verdict.reason != NULL ? run->verdict.reason : "";
}

void heddle_expect_at(bool holds, const char *what, const char *file, int line) {
    if (!holds) {
        heddle_double_fail(file, line, "does not hold: %s", what);
    }
}

void heddle_expect_done_at(const heddle_run *run, const char *file, int line) {
    heddle_expect_verdict_at(run, HEDDLE_VERDICT_DONE, file, line);
}

const char *heddle_expect_verdict_at(const heddle_run *run, heddle_verdict_kind kind, const char *file, int line) {
    if (run->verdict.kind != kind) {
        heddle_double_fail(file, line, "expected the verdict %s, but: %s: %s", VERDICTS[kind], VERDICTS[run->verdict.kind],
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
        heddle_double_fail(file, line, "expected one message on `%s`, but there are %zu among %zu; the verdict is %s: %s", subject,
             count, run->message_count, VERDICTS[run->verdict.kind], reason_of(run));
    }
    return found;
}

void heddle_expect_same_at(const char *actual, const char *expected, const char *file, int line) {
    bool both = actual != NULL && expected != NULL;
    if (both ? strcmp(actual, expected) != 0 : actual != expected) {
        heddle_double_fail(file, line, "expected `%s`, but: `%s`", expected != NULL ? expected : "(nothing)",
             actual != NULL ? actual : "(nothing)");
    }
}

void heddle_expect_text_at(heddle_bytes bytes, const char *text, const char *file, int line) {
    if (bytes.len != strlen(text) || (bytes.len > 0 && memcmp(bytes.data, text, bytes.len) != 0)) {
        heddle_double_fail(file, line, "expected `%s`, but: `%.*s`", text, (int)bytes.len, (const char *)bytes.data);
    }
}

void heddle_expect_json_at(heddle_bytes bytes, const char *json, const char *file, int line) {
    yyjson_doc *actual = yyjson_read((const char *)bytes.data, bytes.len, YYJSON_READ_NOFLAG);
    yyjson_doc *expected = yyjson_read(json, strlen(json), YYJSON_READ_NOFLAG);
    if (expected == NULL) {
        heddle_double_fail(file, line, "the test expects what is not JSON: `%s`", json);
    }
    if (!yyjson_equals(yyjson_doc_get_root(actual), yyjson_doc_get_root(expected))) {
        heddle_double_fail(file, line, "expected `%s`, but: `%.*s`", json, (int)bytes.len, (const char *)bytes.data);
    }
    yyjson_doc_free(actual);
    yyjson_doc_free(expected);
}

#endif
