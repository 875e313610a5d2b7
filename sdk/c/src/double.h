/*
 * What the files of the double of the host share. Not part of the interface.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HEDDLE_DOUBLE_H
#define HEDDLE_DOUBLE_H

#include "heddle_test.h"
#include "internal.h"

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

/* ---- Memory of a test: double.c ----------------------------------------------------------------------- */

/** Memory that lives as long as the test. */
void *heddle_double_take(heddle_test *test, size_t size);

/* Copies in such memory. A NUL is behind the bytes. */
heddle_bytes heddle_double_bytes(heddle_test *test, heddle_bytes bytes);
const char *heddle_double_text(heddle_test *test, const char *text);
const heddle_header *heddle_double_headers(heddle_test *test, const heddle_header *headers, size_t count);

/** The entry of a name, or NULL. */
entry *heddle_double_find(entry *entries, const char *name);

/** The same, added if it is not there. */
entry *heddle_double_entry(heddle_test *test, entry **entries, const char *name);

/** Lets a world be what the handler calls; NULL when it has returned. */
void heddle_double_enter(world *in);

/* ---- Rules: rules.c ----------------------------------------------------------------------------------- */

/* True if the contract allows it; else `why` is set. */

/** A subject on which a handler may publish. */
bool heddle_double_check_subject(const char *subject, const pattern *publishes, heddle_refusal *why);

/** The headers of a message or a reply. */
bool heddle_double_check_headers(const heddle_header *headers, size_t count, heddle_refusal *why);

/** Counts a message or reply: the output of an event is the sum of what they hold. */
bool heddle_double_add_output(world *in, const heddle_published *next, heddle_refusal *why);

/* ---- Failing: expect.c -------------------------------------------------------------------------------- */

/** Ends the test. Without a file, the place is not told. */
HEDDLE_FORMAT(3, 4) _Noreturn void heddle_double_fail(const char *file, int line, const char *format, ...);

#endif
