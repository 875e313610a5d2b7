/*
 * What the files of this library share. Not part of the interface.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HEDDLE_INTERNAL_H
#define HEDDLE_INTERNAL_H

#include "heddle.h"

#include <stdarg.h>

/* ---- Memory of the event: arena.c --------------------------------------------------------------------- */

/** `size` bytes aligned to `align`, a power of two up to 16. Never NULL. */
void *heddle_arena_alloc(size_t size, size_t align);

/** Moves what `heddle_arena_alloc` gave to a larger place, or leaves it. */
void *heddle_arena_grow(void *block, size_t old_size, size_t size);

/** Frees everything. */
void heddle_arena_reset(void);

/** What `vsnprintf` writes, in the memory of the event. */
HEDDLE_FORMAT(1, 0) char *heddle_vprintf(const char *format, va_list arguments);

/* ---- Texts: heddle.c ---------------------------------------------------------------------------------- */

/** NULL if the bytes are UTF-8, else what is wrong with them. */
const char *heddle_utf8_fault(const uint8_t *data, size_t len);

/** A text that is UTF-8: the same one, or a copy whose faulty bytes are replaced by U+FFFD. */
const char *heddle_utf8_lossy(const char *text);

/** An error of a kind, with a text that `format` makes. */
HEDDLE_FORMAT(3, 4)
const heddle_error *heddle_error_new(heddle_error_kind kind, uint64_t limit, const char *format, ...);

/* ---- The host: wasm.c in a plugin, double.c everywhere else ------------------------------------------- */

/** Why the host refused an effect. */
typedef struct heddle_refusal {
    heddle_error_kind kind;
    uint64_t limit;
    /** Of HEDDLE_NOT_GRANTED and HEDDLE_INVALID. */
    const char *text;
} heddle_refusal;

/* True if the host took it; else `why` is set. */
bool heddle_host_publish(const heddle_message *message, heddle_refusal *why);
bool heddle_host_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count, heddle_refusal *why);
bool heddle_host_set_state(const void *data, size_t len, heddle_refusal *why);

void heddle_host_log(heddle_level level, const char *text);

/*
 * These are the host's as they stand in heddle.h: heddle_state_get, heddle_state_clear, heddle_attempt,
 * heddle_stream, heddle_sequence, heddle_handler, heddle_correlation, heddle_deadline_ms, heddle_config.
 */

#endif
