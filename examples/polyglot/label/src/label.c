/*
 * Makes the label of a parcel.
 *
 * On `parcel.priced.<parcel>` it publishes `parcel.labelled.<parcel>`. The label ends with a check number of two
 * digits: the sum of the bytes of the parcel's name in upper case, modulo 97.
 */
#include <heddle.h>
#include <heddle_json.h>

/** The label of a parcel, such as "HD-P1-32". */
static const char *label_of(const char *parcel) {
    char *upper = heddle_printf("%s", parcel);
    unsigned sum = 0;
    for (char *at = upper; *at != '\0'; at++) {
        if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
        sum += (unsigned char)*at;
    }
    return heddle_printf("HD-%s-%02u", upper, sum % 97);
}

heddle_verdict handle(const heddle_event *event) {
    heddle_json priced;
    const char *parcel;
    uint64_t cents;
    HEDDLE_TRY(heddle_event_json(event, &priced));
    HEDDLE_TRY(heddle_json_string(priced, "parcel", &parcel));
    HEDDLE_TRY(heddle_json_u64(priced, "cents", &cents));

    yyjson_mut_doc *doc = heddle_json_new();
    yyjson_mut_val *labelled = heddle_json_object(doc);
    yyjson_mut_obj_add_str(doc, labelled, "parcel", parcel);
    yyjson_mut_obj_add_str(doc, labelled, "label", label_of(parcel));
    yyjson_mut_obj_add_uint(doc, labelled, "cents", cents);
    HEDDLE_TRY(heddle_publish_json(heddle_printf("parcel.labelled.%s", parcel), doc));
    return HEDDLE_DONE;
}
