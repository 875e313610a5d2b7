/*
 * Settings as numbers and bools. The words of the errors are those of the SDK in Rust.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static const heddle_error *config_error(const char *name, const char *value, const char *cause) {
    return heddle_error_new(HEDDLE_CONFIG, 0, "config `%s` cannot be `%s`: %s", heddle_utf8_lossy(name), value, cause);
}

/** Reads an integer with an optional sign. NULL, or what is wrong. */
static const char *read_integer(const char *text, bool *negative, uint64_t *magnitude) {
    *negative = *text == '-';
    if (*text == '-' || *text == '+') {
        text++;
        if (*text == '\0') {
            return "invalid digit found in string";
        }
    }
    if (*text == '\0') {
        return "cannot parse integer from empty string";
    }
    if (strspn(text, "0123456789") != strlen(text)) {
        return "invalid digit found in string";
    }
    *magnitude = 0;
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (*magnitude > (UINT64_MAX - digit) / 10) {
            return *negative ? "number too small to fit in target type" : "number too large to fit in target type";
        }
        *magnitude = *magnitude * 10 + digit;
    }
    return NULL;
}

const heddle_error *heddle_config_u64(const char *name, uint64_t *value) {
    const char *text = heddle_config(name);
    if (text == NULL) {
        return NULL;
    }
    bool negative;
    uint64_t magnitude;
    const char *fault = read_integer(text, &negative, &magnitude);
    if (fault != NULL || negative) {
        return config_error(name, text, fault != NULL && !negative ? fault : "invalid digit found in string");
    }
    *value = magnitude;
    return NULL;
}

const heddle_error *heddle_config_i64(const char *name, int64_t *value) {
    const char *text = heddle_config(name);
    if (text == NULL) {
        return NULL;
    }
    bool negative;
    uint64_t magnitude;
    const char *fault = read_integer(text, &negative, &magnitude);
    uint64_t most = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (fault == NULL && magnitude > most) {
        fault = negative ? "number too small to fit in target type" : "number too large to fit in target type";
    }
    if (fault != NULL) {
        return config_error(name, text, fault);
    }
    if (negative) {
        *value = magnitude == most ? INT64_MIN : -(int64_t)magnitude;
    } else {
        *value = (int64_t)magnitude;
    }
    return NULL;
}

const heddle_error *heddle_config_double(const char *name, double *value) {
    const char *text = heddle_config(name);
    if (text == NULL) {
        return NULL;
    }
    if (*text == '\0') {
        return config_error(name, text, "cannot parse float from empty string");
    }
    char *rest;
    double number = strtod(text, &rest);
    bool is_decimal = strspn(text, "0123456789+-.eE") == strlen(text);
    if (*rest != '\0' || !is_decimal) {
        return config_error(name, text, "invalid float literal");
    }
    *value = number;
    return NULL;
}

const heddle_error *heddle_config_bool(const char *name, bool *value) {
    const char *text = heddle_config(name);
    if (text == NULL) {
        return NULL;
    }
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0) {
        return config_error(name, text, "provided string was not `true` or `false`");
    }
    *value = is_true;
    return NULL;
}
