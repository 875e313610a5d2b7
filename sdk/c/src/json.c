/*
 * JSON in the memory of the event.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "heddle_json.h"

#include "internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- Memory ------------------------------------------------------------------------------------------- */

static void *take(void *context, size_t size) {
    (void)context;
    return heddle_alloc(size);
}

static void *grow(void *context, void *block, size_t old_size, size_t size) {
    (void)context;
    return heddle_arena_grow(block, old_size, size);
}

static void leave(void *context, void *block) {
    (void)context;
    (void)block;
}

static const yyjson_alc EVENT_MEMORY = {take, grow, leave, NULL};

/* ---- Reading ------------------------------------------------------------------------------------------ */

static const heddle_error *undecodable(const char *source, const char *cause) {
    return heddle_error_new(HEDDLE_DECODE, 0, "cannot decode the %s: %s", source, cause);
}

static const heddle_error *read_json(heddle_bytes bytes, const char *source, heddle_json *json) {
    *json = (heddle_json){NULL, source};
    if (bytes.len == 0) {
        return undecodable(source, "it is empty");
    }
    yyjson_read_err fault;
    /* Without the flag YYJSON_READ_INSITU the bytes are only read. */
    char *text = (char *)(uintptr_t)bytes.data;
    yyjson_doc *doc = yyjson_read_opts(text, bytes.len, YYJSON_READ_NOFLAG, &EVENT_MEMORY, &fault);
    if (doc == NULL) {
        size_t line = 0, column = 0, character = 0;
        yyjson_locate_pos(text, bytes.len, fault.pos, &line, &column, &character);
        return undecodable(source, heddle_printf("%s at line %zu column %zu", fault.msg, line, column));
    }
    json->value = yyjson_doc_get_root(doc);
    return NULL;
}

const heddle_error *heddle_event_json(const heddle_event *event, heddle_json *json) {
    heddle_bytes payload = event->payload;
    /* A byte order mark, which some producers put before JSON, says nothing. */
    if (payload.len >= 3 && memcmp(payload.data, "\xef\xbb\xbf", 3) == 0) {
        payload.data += 3;
        payload.len -= 3;
    }
    return read_json(payload, "payload", json);
}

const heddle_error *heddle_state_get_json(heddle_json *json) {
    heddle_bytes value;
    *json = (heddle_json){NULL, "state"};
    return heddle_state_get(&value) ? read_json(value, "state", json) : NULL;
}

const heddle_error *heddle_json_invalid(heddle_json json, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const heddle_error *error = undecodable(json.source, heddle_vprintf(format, arguments));
    va_end(arguments);
    return error;
}

const heddle_error *heddle_json_field(heddle_json object, const char *name, heddle_json *value) {
    if (name == NULL) {
        *value = object;
        return object.value != NULL ? NULL : heddle_json_invalid(object, "there is no value");
    }
    *value = (heddle_json){NULL, object.source};
    if (!yyjson_is_obj(object.value)) {
        const char *found = object.value == NULL ? "nothing" : yyjson_get_type_desc(object.value);
        return heddle_json_invalid(object, "expected an object with the field `%s`, found %s", name, found);
    }
    value->value = yyjson_obj_get(object.value, name);
    return value->value != NULL ? NULL : heddle_json_invalid(object, "missing field `%s`", name);
}

/** The start of an error about a field, or about the value itself. */
static const char *about(const char *name) {
    return name != NULL ? heddle_printf("field `%s`: ", name) : "";
}

static const heddle_error *expected(heddle_json object, const char *name, const char *what, heddle_json found) {
    const char *type = yyjson_get_type_desc(found.value);
    return heddle_json_invalid(object, "%sexpected %s, found %s", about(name), what, type);
}

const heddle_error *heddle_json_bytes(heddle_json object, const char *name, heddle_bytes *value) {
    heddle_json field;
    const heddle_error *error = heddle_json_field(object, name, &field);
    if (error != NULL) {
        return error;
    }
    const char *text = yyjson_get_str(field.value);
    if (text == NULL) {
        return expected(object, name, "a string", field);
    }
    *value = (heddle_bytes){(const uint8_t *)text, yyjson_get_len(field.value)};
    return NULL;
}

const heddle_error *heddle_json_string(heddle_json object, const char *name, const char **value) {
    heddle_bytes bytes;
    const heddle_error *error = heddle_json_bytes(object, name, &bytes);
    if (error != NULL) {
        return error;
    }
    const char *text = (const char *)bytes.data;
    if (strlen(text) != bytes.len) {
        return heddle_json_invalid(object, "%sa string that holds a NUL", about(name));
    }
    *value = text;
    return NULL;
}

const heddle_error *heddle_json_u64(heddle_json object, const char *name, uint64_t *value) {
    heddle_json field;
    const heddle_error *error = heddle_json_field(object, name, &field);
    if (error != NULL) {
        return error;
    }
    if (!yyjson_is_uint(field.value)) {
        return expected(object, name, "an integer from 0 to 18446744073709551615", field);
    }
    *value = yyjson_get_uint(field.value);
    return NULL;
}

const heddle_error *heddle_json_i64(heddle_json object, const char *name, int64_t *value) {
    heddle_json field;
    const heddle_error *error = heddle_json_field(object, name, &field);
    if (error != NULL) {
        return error;
    }
    bool fits = yyjson_is_sint(field.value) || (yyjson_is_uint(field.value) && yyjson_get_uint(field.value) <= INT64_MAX);
    if (!fits) {
        return expected(object, name, "an integer from -9223372036854775808 to 9223372036854775807", field);
    }
    *value = yyjson_get_sint(field.value);
    return NULL;
}

const heddle_error *heddle_json_double(heddle_json object, const char *name, double *value) {
    heddle_json field;
    const heddle_error *error = heddle_json_field(object, name, &field);
    if (error != NULL) {
        return error;
    }
    if (!yyjson_is_num(field.value)) {
        return expected(object, name, "a number", field);
    }
    *value = yyjson_get_num(field.value);
    return NULL;
}

const heddle_error *heddle_json_bool(heddle_json object, const char *name, bool *value) {
    heddle_json field;
    const heddle_error *error = heddle_json_field(object, name, &field);
    if (error != NULL) {
        return error;
    }
    if (!yyjson_is_bool(field.value)) {
        return expected(object, name, "true or false", field);
    }
    *value = yyjson_get_bool(field.value);
    return NULL;
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

yyjson_mut_doc *heddle_json_new(void) {
    return yyjson_mut_doc_new(&EVENT_MEMORY);
}

yyjson_mut_doc *heddle_json_copy(heddle_json json) {
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_doc_set_root(doc, yyjson_val_mut_copy(doc, json.value));
    return doc;
}

yyjson_mut_val *heddle_json_object(yyjson_mut_doc *doc) {
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    return root;
}

yyjson_mut_val *heddle_json_array(yyjson_mut_doc *doc) {
    yyjson_mut_val *root = yyjson_mut_arr(doc);
    yyjson_mut_doc_set_root(doc, root);
    return root;
}

/** The document as text, or NULL and what is wrong. */
static const char *write_json(const yyjson_mut_doc *doc, size_t *len, const char **fault) {
    yyjson_write_err error;
    const char *text = yyjson_mut_write_opts(doc, YYJSON_WRITE_NOFLAG, &EVENT_MEMORY, len, &error);
    if (text == NULL) {
        *fault = heddle_printf("cannot be written as JSON: %s", error.msg);
    }
    return text;
}

const char *heddle_json_write(const yyjson_mut_doc *doc, size_t *len) {
    const char *fault;
    return write_json(doc, len, &fault);
}

const heddle_error *heddle_publish_json(const char *subject, const yyjson_mut_doc *doc) {
    size_t len = 0;
    const char *fault = NULL;
    const char *text = write_json(doc, &len, &fault);
    if (text == NULL) {
        const char *on = heddle_utf8_lossy(subject);
        return heddle_error_new(HEDDLE_INVALID, 0, "publish on `%s` refused: invalid: %s", on, fault);
    }
    return heddle_publish_bytes(subject, text, len);
}

const heddle_error *heddle_reply_json(const yyjson_mut_doc *doc) {
    size_t len = 0;
    const char *fault = NULL;
    const char *text = write_json(doc, &len, &fault);
    if (text == NULL) {
        return heddle_error_new(HEDDLE_INVALID, 0, "reply refused: invalid: %s", fault);
    }
    return heddle_reply((heddle_bytes){(const uint8_t *)text, len}, NULL, 0);
}

const heddle_error *heddle_state_set_json(const yyjson_mut_doc *doc) {
    size_t len = 0;
    const char *fault = NULL;
    const char *text = write_json(doc, &len, &fault);
    if (text == NULL) {
        return heddle_error_new(HEDDLE_INVALID, 0, "state refused: invalid: %s", fault);
    }
    return heddle_state_set(text, len);
}
