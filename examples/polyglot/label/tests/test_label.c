#include <heddle_test.h>

#include <stdio.h>

static const heddle_run *price(heddle_test *test, const char *payload) {
    return heddle_test_run(
        test, &(heddle_test_event){.subject = "parcel.priced.p1", .payload = heddle_text(payload)});
}

static void a_priced_parcel_gets_a_label(void) {
    heddle_test *test = heddle_test_new();
    heddle_test_key(test, "{subject.2}");
    heddle_test_publishes(test, "parcel.labelled.*");
    const heddle_run *run = price(test, "{\"parcel\":\"p1\",\"zone\":\"near\",\"weight_g\":900,\"cents\":350}");
    heddle_expect_done(run);
    /* P is 80, 1 is 49, and 129 modulo 97 is 32. */
    heddle_expect_json(heddle_expect_message(run, "parcel.labelled.p1")->payload,
                       "{\"parcel\":\"p1\",\"label\":\"HD-P1-32\",\"cents\":350}");
    heddle_test_free(test);
}

static void a_parcel_without_a_price_is_rejected(void) {
    heddle_test *test = heddle_test_new();
    heddle_expect_same(heddle_expect_reject(price(test, "{\"parcel\":\"p1\"}")),
                       "cannot decode the payload: missing field `cents`");
    heddle_test_free(test);
}

int main(void) {
    a_priced_parcel_gets_a_label();
    a_parcel_without_a_price_is_rejected();
    puts("2 passed, 0 failed");
    return 0;
}
