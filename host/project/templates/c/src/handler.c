#include <heddle.h>
#include <heddle_json.h>

#include <inttypes.h>

heddle_verdict handle(const heddle_event *event) {
    heddle_json placed;
    const char *order;
    HEDDLE_TRY(heddle_event_json(event, &placed));
    HEDDLE_TRY(heddle_json_string(placed, "order", &order));

    heddle_json state;
    uint64_t orders = 0;
    HEDDLE_TRY(heddle_state_get_json(&state));
    if (state.value != NULL) {
        HEDDLE_TRY(heddle_json_u64(state, NULL, &orders));
    }
    orders++;
    HEDDLE_TRY(heddle_state_set_text(heddle_printf("%" PRIu64, orders)));

    if (orders % 3 == 0) {
        yyjson_mut_doc *doc = heddle_json_new();
        yyjson_mut_val *gift = heddle_json_object(doc);
        yyjson_mut_obj_add_str(doc, gift, "order", order);
        yyjson_mut_obj_add_uint(doc, gift, "number", orders / 3);
        HEDDLE_TRY(heddle_publish_json(heddle_printf("gift.earned.%s", event->key), doc));
    }
    return HEDDLE_DONE;
}
