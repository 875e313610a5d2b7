/*
 * The real host, reached through the generated bindings, and the plugin's entry. The only file that knows them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
/* For srandom and srand48. */
#define _DEFAULT_SOURCE

#include "internal.h"

#ifdef __wasm__

#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The world's description is put into the module after linking, not by an object file. */
void __component_type_object_force_link_plugin(void) {}

/* ---- Memory that the host fills ----------------------------------------------------------------------- */

/* Stands in for the weak one of the bindings. What the host gives belongs to the event, and a NUL follows it, so
   that it can be used as a text where it lies. */
__attribute__((__export_name__("cabi_realloc"))) void *cabi_realloc(void *block, size_t old_size, size_t align,
                                                                    size_t size) {
    uint8_t *given = heddle_arena_alloc(size + 1, align);
    if (old_size > 0) {
        memcpy(given, block, old_size < size ? old_size : size);
    }
    given[size] = '\0';
    return given;
}

/* What the adapter of the standard library takes outlives the event. */
__attribute__((__export_name__("cabi_realloc_adapter"))) void *heddle_adapter_realloc(void *block, size_t old_size,
                                                                                      size_t align, size_t size) {
    (void)old_size;
    void *given = block == NULL ? aligned_alloc(align, size) : realloc(block, size);
    if (given == NULL) {
        abort();
    }
    return given;
}

static const char *text_of(plugin_string_t text) {
    return text.len == 0 ? "" : (const char *)text.ptr;
}

static heddle_bytes bytes_of(plugin_list_u8_t bytes) {
    return bytes.len == 0 ? (heddle_bytes){(const uint8_t *)"", 0} : (heddle_bytes){bytes.ptr, bytes.len};
}

/* The bindings take what they only read as if they wrote it. */
static plugin_string_t host_text(const char *text) {
    return (plugin_string_t){(uint8_t *)(uintptr_t)text, strlen(text)};
}

static plugin_list_u8_t host_bytes(const void *data, size_t len) {
    return (plugin_list_u8_t){(uint8_t *)(uintptr_t)data, len};
}

static heddle_plugin_types_list_header_t host_headers(const heddle_header *headers, size_t count) {
    heddle_plugin_types_header_t *list = NULL;
    if (count > 0) {
        list = heddle_alloc(count * sizeof *list);
    }
    for (size_t i = 0; i < count; i++) {
        list[i].name = host_text(headers[i].name);
        list[i].value = host_text(headers[i].value);
    }
    return (heddle_plugin_types_list_header_t){list, count};
}

/* ---- Calls of the host -------------------------------------------------------------------------------- */

static heddle_refusal refusal_of(const heddle_plugin_types_effect_error_t *error) {
    switch (error->tag) {
    case HEDDLE_PLUGIN_TYPES_EFFECT_ERROR_NOT_GRANTED:
        return (heddle_refusal){HEDDLE_NOT_GRANTED, 0, text_of(error->val.not_granted)};
    case HEDDLE_PLUGIN_TYPES_EFFECT_ERROR_TOO_LARGE:
        return (heddle_refusal){HEDDLE_TOO_LARGE, error->val.too_large, NULL};
    case HEDDLE_PLUGIN_TYPES_EFFECT_ERROR_TOO_MANY:
        return (heddle_refusal){HEDDLE_TOO_MANY, error->val.too_many, NULL};
    default:
        return (heddle_refusal){HEDDLE_INVALID, 0, text_of(error->val.invalid)};
    }
}

bool heddle_host_publish(const heddle_message *message, heddle_refusal *why) {
    heddle_plugin_effects_message_t sent = {
        .subject = host_text(message->subject),
        .headers = host_headers(message->headers, message->header_count),
        .payload = host_bytes(message->payload.data, message->payload.len),
    };
    heddle_plugin_effects_effect_error_t error;
    bool taken = message->delay_s == 0 ? heddle_plugin_effects_publish(&sent, &error)
                                       : heddle_plugin_effects_publish_after(&sent, message->delay_s, &error);
    if (!taken) {
        *why = refusal_of(&error);
    }
    return taken;
}

bool heddle_host_reply(heddle_bytes payload, const heddle_header *headers, size_t header_count, heddle_refusal *why) {
    heddle_plugin_types_list_header_t sent = host_headers(headers, header_count);
    heddle_plugin_effects_list_header_t list = {sent.ptr, sent.len};
    plugin_list_u8_t bytes = host_bytes(payload.data, payload.len);
    heddle_plugin_effects_effect_error_t error;
    bool taken = heddle_plugin_effects_reply(&list, &bytes, &error);
    if (!taken) {
        *why = refusal_of(&error);
    }
    return taken;
}

bool heddle_host_set_state(const void *data, size_t len, heddle_refusal *why) {
    plugin_list_u8_t value = host_bytes(data, len);
    heddle_plugin_state_effect_error_t error;
    bool taken = heddle_plugin_state_set(&value, &error);
    if (!taken) {
        *why = refusal_of(&error);
    }
    return taken;
}

bool heddle_state_get(heddle_bytes *value) {
    plugin_list_u8_t held = {NULL, 0};
    bool some = heddle_plugin_state_get(&held);
    *value = bytes_of(held);
    return some;
}

void heddle_state_clear(void) {
    heddle_plugin_state_clear();
}

uint32_t heddle_attempt(void) {
    return heddle_plugin_context_attempt();
}

const char *heddle_stream(void) {
    plugin_string_t name;
    heddle_plugin_context_stream(&name);
    return text_of(name);
}

uint64_t heddle_sequence(void) {
    return heddle_plugin_context_sequence();
}

const char *heddle_handler(void) {
    plugin_string_t name;
    heddle_plugin_context_handler(&name);
    return text_of(name);
}

const char *heddle_correlation(void) {
    plugin_string_t id;
    heddle_plugin_context_correlation(&id);
    return text_of(id);
}

uint32_t heddle_deadline_ms(void) {
    return heddle_plugin_context_deadline_ms();
}

const char *heddle_config(const char *name) {
    plugin_string_t asked = host_text(name);
    plugin_string_t value;
    /* The host reads names as UTF-8; there is none that is not. */
    if (heddle_utf8_fault(asked.ptr, asked.len) != NULL) {
        return NULL;
    }
    return heddle_plugin_config_get(&asked, &value) ? text_of(value) : NULL;
}

void heddle_host_log(heddle_level level, const char *text) {
    plugin_string_t message = host_text(text);
    heddle_plugin_log_log((heddle_plugin_log_level_t)level, &message);
}

/* ---- The entry ---------------------------------------------------------------------------------------- */

/* Linked only if the handler uses them: without that, these are NULL. */
#pragma weak srand
#pragma weak srandom
#pragma weak srand48
extern FILE *volatile __stdout_used __attribute__((__weak__));

/** Random numbers are the same on every run of an event, whatever ran before in the instance. */
static void seed_random(const char *id) {
    if (srand == NULL && srandom == NULL && srand48 == NULL) {
        return;
    }
    /* FNV-1a. */
    uint32_t seed = 2166136261u;
    for (; *id != '\0'; id++) {
        seed = (seed ^ (uint8_t)*id) * 16777619u;
    }
    if (srand != NULL) {
        srand(seed);
    }
    if (srandom != NULL) {
        srandom(seed);
    }
    if (srand48 != NULL) {
        srand48((long)seed);
    }
}

/** Lines are written when they end, so that those before a trap are not lost. */
static void prepare_output(void) {
    static bool prepared = false;
    if (!prepared && &__stdout_used != NULL && __stdout_used != NULL) {
        setvbuf(__stdout_used, NULL, _IOLBF, 0);
    }
    prepared = true;
}

/** A copy that the bindings free once the host has read it. */
static plugin_string_t reason_of(heddle_verdict verdict) {
    const char *reason = verdict.reason == NULL ? "" : heddle_utf8_lossy(verdict.reason);
    size_t len = strlen(reason);
    uint8_t *copy = len > 0 ? malloc(len) : NULL;
    if (len > 0 && copy == NULL) {
        abort();
    }
    if (len > 0) {
        memcpy(copy, reason, len);
    }
    return (plugin_string_t){copy, len};
}

static bool answer(heddle_verdict verdict, exports_heddle_plugin_handler_failure_t *failure) {
    switch (verdict.kind) {
    case HEDDLE_VERDICT_DONE:
        return true;
    case HEDDLE_VERDICT_RETRY:
        failure->tag = HEDDLE_PLUGIN_TYPES_FAILURE_RETRY;
        failure->val.retry = reason_of(verdict);
        return false;
    case HEDDLE_VERDICT_DEFER:
        failure->tag = HEDDLE_PLUGIN_TYPES_FAILURE_DEFER;
        failure->val.defer.delay_ms = verdict.delay_ms;
        failure->val.defer.reason = reason_of(verdict);
        return false;
    case HEDDLE_VERDICT_REJECT:
        break;
    }
    failure->tag = HEDDLE_PLUGIN_TYPES_FAILURE_REJECT;
    failure->val.reject = reason_of(verdict);
    return false;
}

bool exports_heddle_plugin_handler_handle(exports_heddle_plugin_handler_event_t *given,
                                          exports_heddle_plugin_handler_failure_t *failure) {
    size_t header_count = given->headers.len;
    heddle_header *headers = NULL;
    if (header_count > 0) {
        headers = heddle_alloc(header_count * sizeof *headers);
    }
    for (size_t i = 0; i < header_count; i++) {
        headers[i].name = text_of(given->headers.ptr[i].name);
        headers[i].value = text_of(given->headers.ptr[i].value);
    }
    heddle_event event = {
        .id = text_of(given->id),
        .subject = text_of(given->subject),
        .key = text_of(given->key),
        .time = {.tv_sec = (time_t)given->time.seconds, .tv_nsec = (long)given->time.nanoseconds},
        .headers = headers,
        .header_count = header_count,
        .payload = bytes_of(given->payload),
    };
    seed_random(event.id);
    prepare_output();
    heddle_verdict verdict = handle(&event);
    bool done = answer(verdict, failure);
    fflush(NULL);
    heddle_arena_reset();
    return done;
}

#endif
