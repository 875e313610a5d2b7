#include <heddle_test.h>

#include <stdio.h>

static const heddle_run *place(heddle_test *test, const char *payload) {
    return heddle_test_run(
        test, &(heddle_test_event){.subject = "order.placed.ada", .payload = heddle_text(payload)});
}

static void every_third_order_earns_a_gift(void) {
    heddle_test *test = heddle_test_new();
    heddle_test_key(test, "{subject.2}");
    heddle_test_publishes(test, "gift.earned.*");

    for (int i = 0; i < 2; i++) {
        const heddle_run *run = place(test, "{\"order\": \"o-1\"}");
        heddle_expect_done(run);
        heddle_expect(run->message_count == 0);
    }
    const heddle_run *run = place(test, "{\"order\": \"o-1\"}");
    heddle_expect_done(run);
    const heddle_published *gift = heddle_expect_message(run, "gift.earned.ada");
    heddle_expect_json(gift->payload, "{\"order\": \"o-1\", \"number\": 1}");

    heddle_test_free(test);
}

static void an_order_that_cannot_be_read_is_rejected(void) {
    heddle_test *test = heddle_test_new();
    heddle_test_key(test, "{subject.2}");

    const char *reason = heddle_expect_reject(place(test, "{\"odrer\": \"o-1\"}"));
    heddle_expect_same(reason, "cannot decode the payload: missing field `order`");

    heddle_test_free(test);
}

int main(void) {
    every_third_order_earns_a_gift();
    an_order_that_cannot_be_read_is_rejected();
    puts("2 passed, 0 failed");
    return 0;
}
