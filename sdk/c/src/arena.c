/*
 * The memory of the event: taken piece by piece, freed at once when the event ends.
 *
 * In a plugin, pieces are cut from chunks, of which the first is always there. Elsewhere each piece is a block of
 * its own, so that tools that watch memory see every piece.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __wasm__
/** Enough for most events. */
#define FIRST_CHUNK (32u * 1024u)
/** What is taken from `malloc` at least. */
#define NEXT_CHUNK (64u * 1024u)
#endif

/** The start of a chunk; what it holds follows. */
typedef struct chunk {
    struct chunk *next;
    /* So that the content is aligned for every type. */
    max_align_t content[];
} chunk;

static chunk *chunks = NULL;

static void *add_chunk(size_t size) {
    chunk *added = size <= SIZE_MAX - sizeof(chunk) ? malloc(sizeof(chunk) + size) : NULL;
    if (added == NULL) {
        abort();
    }
    added->next = chunks;
    chunks = added;
    return added->content;
}

static void free_chunks(void) {
    while (chunks != NULL) {
        chunk *next = chunks->next;
        free(chunks);
        chunks = next;
    }
}

#ifdef __wasm__

static _Alignas(max_align_t) uint8_t first[FIRST_CHUNK];
static uint8_t *at = first;
static uint8_t *end = first + FIRST_CHUNK;

void *heddle_arena_alloc(size_t size, size_t align) {
    size_t gap = (size_t)(-(uintptr_t)at & (align - 1));
    size_t left = (size_t)(end - at);
    if (gap > left || size > left - gap) {
        size_t chunk_size = size > NEXT_CHUNK ? size : NEXT_CHUNK;
        at = add_chunk(chunk_size);
        end = at + chunk_size;
        gap = 0;
    }
    uint8_t *block = at + gap;
    at = block + size;
    return block;
}

void *heddle_arena_grow(void *block, size_t old_size, size_t size) {
    bool is_last = (uint8_t *)block + old_size == at;
    if (is_last && size <= (size_t)(end - (uint8_t *)block)) {
        at = (uint8_t *)block + size;
        return block;
    }
    void *moved = heddle_arena_alloc(size, _Alignof(max_align_t));
    return memcpy(moved, block, old_size < size ? old_size : size);
}

void heddle_arena_reset(void) {
    free_chunks();
    at = first;
    end = first + FIRST_CHUNK;
}

#else

void *heddle_arena_alloc(size_t size, size_t align) {
    (void)align;
    return add_chunk(size);
}

void *heddle_arena_grow(void *block, size_t old_size, size_t size) {
    return memcpy(add_chunk(size), block, old_size < size ? old_size : size);
}

void heddle_arena_reset(void) {
    free_chunks();
}

#endif

void *heddle_alloc(size_t size) {
    return heddle_arena_alloc(size, _Alignof(max_align_t));
}

char *heddle_vprintf(const char *format, va_list arguments) {
    char short_text[256];
    va_list again;
    va_copy(again, arguments);
    int written = vsnprintf(short_text, sizeof short_text, format, arguments);
    size_t len = written < 0 ? 0 : (size_t)written;
    char *text = heddle_arena_alloc(len + 1, 1);
    if (len < sizeof short_text) {
        memcpy(text, short_text, len);
    } else {
        vsnprintf(text, len + 1, format, again);
    }
    text[len] = '\0';
    va_end(again);
    return text;
}

char *heddle_printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = heddle_vprintf(format, arguments);
    va_end(arguments);
    return text;
}
