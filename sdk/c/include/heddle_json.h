/**
 * JSON for handlers, by the library yyjson, which lies in `third_party/yyjson`.
 *
 * Reading: these functions take what is asked for or say what is wrong in the words of a decode error, so that
 * `HEDDLE_TRY` rejects the event. For everything else use yyjson on `.value`.
 *
 *     heddle_json order;
 *     const char *id;
 *     uint64_t amount;
 *     HEDDLE_TRY(heddle_event_json(event, &order));
 *     HEDDLE_TRY(heddle_json_string(order, "order", &id));
 *     HEDDLE_TRY(heddle_json_u64(order, "amount", &amount));
 *
 * Writing: make a document, fill its root with yyjson, publish it or set it.
 *
 *     yyjson_mut_doc *doc = heddle_json_new();
 *     yyjson_mut_val *account = heddle_json_object(doc);
 *     yyjson_mut_obj_add_str(doc, account, "order", id);
 *     HEDDLE_TRY(heddle_publish_json("credit.reserved.c1", doc));
 *
 * All of it lives until the event ends and is then freed at once: never call `yyjson_doc_free` on it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HEDDLE_JSON_H
#define HEDDLE_JSON_H

#include "heddle.h"
#include "yyjson.h"

/** A value that was read, and where: that is what its errors name. */
typedef struct heddle_json {
    /** NULL if there is none. All readers of yyjson take it, NULL too. */
    yyjson_val *value;
    /** "payload" or "state". */
    const char *source;
} heddle_json;

/* ---- Reading ------------------------------------------------------------------------------------------ */

/**
 * The payload as JSON. A byte order mark before it is skipped.
 *
 * HEDDLE_DECODE if it is not JSON.
 */
HEDDLE_MUST_USE const heddle_error *heddle_event_json(const heddle_event *event, heddle_json *json);

/**
 * The state as JSON; `json->value` is NULL if there is no state.
 *
 * HEDDLE_DECODE if it is not JSON.
 */
HEDDLE_MUST_USE const heddle_error *heddle_state_get_json(heddle_json *json);

/**
 * Any member of an object. JSON's `null` counts as a value.
 *
 * HEDDLE_DECODE if `object` is no object or has no such member.
 */
HEDDLE_MUST_USE const heddle_error *heddle_json_field(heddle_json object, const char *name, heddle_json *value);

/*
 * A member of an object, of one type. With NULL for the name, the value itself:
 *
 *     heddle_json state;
 *     uint64_t orders = 0;
 *     HEDDLE_TRY(heddle_state_get_json(&state));
 *     if (state.value != NULL) {
 *         HEDDLE_TRY(heddle_json_u64(state, NULL, &orders));
 *     }
 *
 * `heddle_json_string` refuses a string that holds a NUL, because a text could not carry it; `heddle_json_bytes` takes
 * any.
 *
 * HEDDLE_DECODE if `object` is no object, has no such member, or the member is of another type or out of range.
 */
HEDDLE_MUST_USE const heddle_error *heddle_json_string(heddle_json object, const char *name, const char **value);
HEDDLE_MUST_USE const heddle_error *heddle_json_bytes(heddle_json object, const char *name, heddle_bytes *value);
HEDDLE_MUST_USE const heddle_error *heddle_json_u64(heddle_json object, const char *name, uint64_t *value);
HEDDLE_MUST_USE const heddle_error *heddle_json_i64(heddle_json object, const char *name, int64_t *value);
HEDDLE_MUST_USE const heddle_error *heddle_json_double(heddle_json object, const char *name, double *value);
HEDDLE_MUST_USE const heddle_error *heddle_json_bool(heddle_json object, const char *name, bool *value);

/** A decode error in your own words, for what is JSON but not what the handler expects:
    "cannot decode the payload: " and the text. */
HEDDLE_MUST_USE HEDDLE_FORMAT(2, 3) const heddle_error *heddle_json_invalid(heddle_json json, const char *format, ...);

/* ---- Writing ------------------------------------------------------------------------------------------ */

/** A new document without a root. Texts that are added to it are not copied, unless yyjson's `…cpy` functions
    are used, and must live until it is written. */
yyjson_mut_doc *heddle_json_new(void);

/** A document that begins as a copy of what was read, to be changed. Without a value it has no root. */
yyjson_mut_doc *heddle_json_copy(heddle_json json);

/** Makes a new, empty object the root of a document. */
yyjson_mut_val *heddle_json_object(yyjson_mut_doc *doc);

/** Makes a new, empty array the root of a document. */
yyjson_mut_val *heddle_json_array(yyjson_mut_doc *doc);

/**
 * The document as text, with its length in `len` unless that is NULL; NULL if it cannot be written: it has no
 * root, or a text that is not UTF-8, or a number that is not finite.
 */
const char *heddle_json_write(const yyjson_mut_doc *doc, size_t *len);

/** Publishes a document. HEDDLE_INVALID if it cannot be written; else errors as of `heddle_publish`. */
HEDDLE_MUST_USE const heddle_error *heddle_publish_json(const char *subject, const yyjson_mut_doc *doc);

/** Answers with a document. HEDDLE_INVALID if it cannot be written; else errors as of `heddle_reply`. */
HEDDLE_MUST_USE const heddle_error *heddle_reply_json(const yyjson_mut_doc *doc);

/** Makes a document the state. HEDDLE_INVALID if it cannot be written; else errors as of `heddle_state_set`. */
HEDDLE_MUST_USE const heddle_error *heddle_state_set_json(const yyjson_mut_doc *doc);

#endif
