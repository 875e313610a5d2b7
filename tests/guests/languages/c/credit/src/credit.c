/*
 * Lends every customer credit up to a limit.
 *
 * | on | publishes |
 * |---|---|
 * | `order.created.<customer>` | `credit.reserved.<customer>`, or `credit.exceeded.<customer>` |
 * | `order.cancelled.<customer>` | `credit.released.<customer>` if credit was reserved for the order |
 *
 * The key is the customer: `{subject.2}`. The state is what is reserved for each order. An approved order keeps its
 * reservation; a cancelled one gives back exactly what it had, once. Each order reserves at least 1, so the state
 * never holds more orders than the limit.
 *
 * Config: `limit`, 1000 if it is not set.
 */
#include <heddle.h>
#include <heddle_json.h>

/** What each order of the customer has reserved, as a JSON object. */
typedef struct reservations {
    yyjson_mut_doc *doc;
    yyjson_mut_val *amounts;
    /** Never overflows: an order is only added if the sum fits. */
    uint64_t total;
} reservations;

static const heddle_error *read_reservations(reservations *all) {
    heddle_json state;
    const heddle_error *error = heddle_state_get_json(&state);
    if (error != NULL) {
        return error;
    }
    if (state.value != NULL && !yyjson_is_obj(state.value)) {
        return heddle_json_invalid(state, "expected an object, found %s", yyjson_get_type_desc(state.value));
    }
    yyjson_obj_iter each = yyjson_obj_iter_with(state.value);
    uint64_t total = 0;
    for (yyjson_val *order; (order = yyjson_obj_iter_next(&each)) != NULL;) {
        yyjson_val *amount = yyjson_obj_iter_get_val(order);
        if (!yyjson_is_uint(amount) || yyjson_get_uint(amount) == 0) {
            return heddle_json_invalid(state, "order `%s` has no amount", yyjson_get_str(order));
        }
        total += yyjson_get_uint(amount);
    }
    all->doc = heddle_json_copy(state);
    all->amounts = state.value != NULL ? yyjson_mut_doc_get_root(all->doc) : heddle_json_object(all->doc);
    all->total = total;
    return NULL;
}

static const heddle_error *store_reservations(const reservations *all) {
    if (yyjson_mut_obj_size(all->amounts) == 0) {
        heddle_state_clear();
        return NULL;
    }
    return heddle_state_set_json(all->doc);
}

/** Tells what happened to the credit of a customer. */
static const heddle_error *publish_account(const char *subject, const char *order, uint64_t amount, uint64_t reserved,
                                           uint64_t limit) {
    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *account = heddle_json_object(doc);
    yyjson_mut_obj_add_str(doc, account, "order", order);
    yyjson_mut_obj_add_uint(doc, account, "amount", amount);
    yyjson_mut_obj_add_uint(doc, account, "reserved", reserved);
    yyjson_mut_obj_add_uint(doc, account, "limit", limit);
    return heddle_publish_json(subject, doc);
}

static heddle_verdict reserve(const heddle_event *event) {
    heddle_json created;
    const char *order;
    uint64_t amount;
    HEDDLE_TRY(heddle_event_json(event, &created));
    HEDDLE_TRY(heddle_json_string(created, "order", &order));
    HEDDLE_TRY(heddle_json_u64(created, "amount", &amount));
    if (amount == 0) {
        return heddle_failed(heddle_json_invalid(created, "field `amount`: expected a number above 0, found 0"));
    }
    uint64_t limit = 1000;
    HEDDLE_TRY(heddle_config_u64("limit", &limit));
    reservations all;
    HEDDLE_TRY(read_reservations(&all));
    if (yyjson_mut_obj_get(all.amounts, order) != NULL) {
        return heddle_reject("order `%s` has a reservation already", order);
    }
    if (amount > limit || all.total > limit - amount) {
        heddle_log_info("order `%s` exceeds the limit: %llu of %llu are reserved", order, (unsigned long long)all.total,
                        (unsigned long long)limit);
        const char *exceeded = heddle_printf("credit.exceeded.%s", event->key);
        HEDDLE_TRY(publish_account(exceeded, order, amount, all.total, limit));
        return HEDDLE_DONE;
    }
    yyjson_mut_obj_add_uint(all.doc, all.amounts, order, amount);
    HEDDLE_TRY(store_reservations(&all));
    const char *reserved = heddle_printf("credit.reserved.%s", event->key);
    HEDDLE_TRY(publish_account(reserved, order, amount, all.total + amount, limit));
    return HEDDLE_DONE;
}

static heddle_verdict release(const heddle_event *event) {
    heddle_json cancelled;
    const char *order;
    HEDDLE_TRY(heddle_event_json(event, &cancelled));
    HEDDLE_TRY(heddle_json_string(cancelled, "order", &order));
    uint64_t limit = 1000;
    HEDDLE_TRY(heddle_config_u64("limit", &limit));
    reservations all;
    HEDDLE_TRY(read_reservations(&all));
    yyjson_mut_val *amount = yyjson_mut_obj_remove_key(all.amounts, order);
    if (amount == NULL) {
        return HEDDLE_DONE;
    }
    HEDDLE_TRY(store_reservations(&all));
    uint64_t released = yyjson_mut_get_uint(amount);
    const char *subject = heddle_printf("credit.released.%s", event->key);
    HEDDLE_TRY(publish_account(subject, order, released, all.total - released, limit));
    return HEDDLE_DONE;
}

heddle_verdict handle(const heddle_event *event) {
    if (heddle_token_is(event, 0, "order") && heddle_token_is(event, 1, "created")) {
        return reserve(event);
    }
    if (heddle_token_is(event, 0, "order") && heddle_token_is(event, 1, "cancelled")) {
        return release(event);
    }
    return heddle_reject("`%s` is no event that touches credit", event->subject);
}
