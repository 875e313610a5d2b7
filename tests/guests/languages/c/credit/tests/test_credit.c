#include <heddle_test.h>

#include <stdio.h>

static heddle_test *credit(void) {
    heddle_test *test = heddle_test_new();
    heddle_test_key(test, "{subject.2}");
    heddle_test_publishes(test, "credit.*.*");
    heddle_test_config(test, "limit", "200");
    return test;
}

static const heddle_run *run(heddle_test *test, const char *subject, const char *payload) {
    return heddle_test_run(test, &(heddle_test_event){.subject = subject, .payload = heddle_text(payload)});
}

static const heddle_run *created(heddle_test *test, const char *payload) {
    return run(test, "order.created.c1", payload);
}

static void credit_is_reserved_up_to_the_limit_and_no_further(void) {
    heddle_test *test = credit();
    const heddle_run *first = created(test, "{\"order\":\"o-1\",\"item\":\"loom\",\"amount\":120}");
    heddle_expect_done(first);
    heddle_expect_json(heddle_expect_message(first, "credit.reserved.c1")->payload,
                       "{\"order\":\"o-1\",\"amount\":120,\"reserved\":120,\"limit\":200}");
    const heddle_run *second = created(test, "{\"order\":\"o-2\",\"amount\":81}");
    heddle_expect_done(second);
    heddle_expect_json(heddle_expect_message(second, "credit.exceeded.c1")->payload,
                       "{\"order\":\"o-2\",\"amount\":81,\"reserved\":120,\"limit\":200}");
    const heddle_run *third = created(test, "{\"order\":\"o-3\",\"amount\":80}");
    heddle_expect_message(third, "credit.reserved.c1");
    heddle_expect_json(*heddle_test_state(test, "c1"), "{\"o-1\":120,\"o-3\":80}");
    heddle_test_free(test);
}

static void a_cancelled_order_gives_back_what_it_had_once(void) {
    heddle_test *test = credit();
    heddle_expect_done(created(test, "{\"order\":\"o-1\",\"amount\":120}"));
    heddle_expect_done(created(test, "{\"order\":\"o-2\",\"amount\":30}"));
    const heddle_run *first = run(test, "order.cancelled.c1", "{\"order\":\"o-1\"}");
    heddle_expect_done(first);
    heddle_expect_json(heddle_expect_message(first, "credit.released.c1")->payload,
                       "{\"order\":\"o-1\",\"amount\":120,\"reserved\":30,\"limit\":200}");
    const heddle_run *again = run(test, "order.cancelled.c1", "{\"order\":\"o-1\"}");
    heddle_expect_done(again);
    heddle_expect(again->message_count == 0);
    heddle_expect_json(*heddle_test_state(test, "c1"), "{\"o-2\":30}");
    heddle_expect(run(test, "order.cancelled.c1", "{\"order\":\"o-2\"}")->state == NULL);
    heddle_test_free(test);
}

static void an_order_reserves_once(void) {
    heddle_test *test = credit();
    heddle_expect_done(created(test, "{\"order\":\"o-1\",\"amount\":10}"));
    heddle_expect_same(heddle_expect_reject(created(test, "{\"order\":\"o-1\",\"amount\":10}")),
                       "order `o-1` has a reservation already");
    heddle_test_free(test);
}

static void an_amount_beyond_all_numbers_exceeds_the_limit(void) {
    heddle_test *test = credit();
    heddle_test_config(test, "limit", "18446744073709551615");
    heddle_expect_done(created(test, "{\"order\":\"o-1\",\"amount\":1}"));
    heddle_expect_message(created(test, "{\"order\":\"o-2\",\"amount\":18446744073709551615}"), "credit.exceeded.c1");
    heddle_test_free(test);
}

static void what_cannot_be_read_is_no_order(void) {
    heddle_test *test = credit();
    heddle_expect_reject(created(test, "{\"order\":\"o-1\",\"amount\":0}"));
    heddle_expect_reject(created(test, "{\"order\":\"o-1\"}"));
    heddle_expect_same(heddle_expect_reject(run(test, "order.sent.c1", "{}")),
                       "`order.sent.c1` is no event that touches credit");
    heddle_test_config(test, "limit", "much");
    heddle_expect_same(heddle_expect_retry(created(test, "{\"order\":\"o-1\",\"amount\":1}")),
                       "config `limit` cannot be `much`: invalid digit found in string");
    heddle_test_free(test);
}

int main(void) {
    credit_is_reserved_up_to_the_limit_and_no_further();
    a_cancelled_order_gives_back_what_it_had_once();
    an_order_reserves_once();
    an_amount_beyond_all_numbers_exceeds_the_limit();
    what_cannot_be_read_is_no_order();
    puts("5 passed, 0 failed");
    return 0;
}
