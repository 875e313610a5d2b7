/*
 * What a handler can rely on, and what its tests can.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <heddle.h>
#include <heddle_json.h>
#include <heddle_test.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/** What `handle` does in the test that runs. */
static heddle_verdict (*handler)(const heddle_event *event);

heddle_verdict handle(const heddle_event *event) {
    return handler(event);
}

static heddle_test *testing(heddle_verdict (*handler_under_test)(const heddle_event *event)) {
    handler = handler_under_test;
    return heddle_test_new();
}

/** Runs one event with the defaults; the test is freed by the caller. */
static const heddle_run *run_text(heddle_test *test, const char *subject, const char *payload) {
    return heddle_test_run(test, &(heddle_test_event){.subject = subject, .payload = heddle_text(payload)});
}

/* ---- State and verdicts ------------------------------------------------------------------------------- */

static heddle_verdict count(const heddle_event *event) {
    heddle_json state;
    uint64_t n = 0;
    HEDDLE_TRY(heddle_state_get_json(&state));
    if (state.value != NULL) {
        HEDDLE_TRY(heddle_json_u64(state, NULL, &n));
    }
    const char *next = heddle_printf("%" PRIu64, n + 1);
    HEDDLE_TRY(heddle_state_set_text(next));
    HEDDLE_TRY(heddle_publish_text(heddle_printf("count.%s", event->key), next));
    heddle_log_info("%s is at %s", event->key, next);
    return event->payload.len > 0 ? heddle_retry("as told: %d", 7) : HEDDLE_DONE;
}

static void each_key_has_a_state_of_its_own(void) {
    heddle_test *test = testing(count);
    heddle_test_key(test, "{subject.1}");
    heddle_expect_done(run_text(test, "hit.a", ""));
    heddle_expect_done(run_text(test, "hit.b", ""));
    const heddle_run *run = run_text(test, "hit.a", "");
    heddle_expect_done(run);
    heddle_expect_text(heddle_expect_message(run, "count.a")->payload, "2");
    heddle_expect_text(*heddle_test_state(test, "a"), "2");
    heddle_expect_text(*heddle_test_state(test, "b"), "1");
    heddle_expect(heddle_test_state(test, "c") == NULL);
    heddle_test_free(test);
}

static void what_a_failed_event_did_is_forgotten_but_its_log(void) {
    heddle_test *test = testing(count);
    heddle_test_key(test, "k");
    heddle_test_given_state(test, "k", heddle_text("5"));
    const heddle_run *run = run_text(test, "hit", "fail");
    heddle_expect_same(heddle_expect_retry(run), "as told: 7");
    heddle_expect(run->message_count == 0);
    heddle_expect_text(*run->state, "5");
    heddle_expect(run->log_count == 1 && run->logs[0].level == HEDDLE_INFO);
    heddle_expect_same(run->logs[0].message, "k is at 6");
    heddle_test_free(test);
}

static void a_state_that_cannot_be_read_is_a_reject(void) {
    heddle_test *test = testing(count);
    heddle_test_key(test, "k");
    heddle_test_given_state(test, "k", heddle_text("\"five\""));
    heddle_expect_same(heddle_expect_reject(run_text(test, "hit", "")),
                       "cannot decode the state: expected an integer from 0 to 18446744073709551615, found string");
    heddle_test_given_state(test, "k", heddle_text("five"));
    const char *reason = heddle_expect_reject(run_text(test, "hit", ""));
    heddle_expect(strncmp(reason, "cannot decode the state: ", 25) == 0 && strstr(reason, "line 1 column") != NULL);
    heddle_test_free(test);
}

static heddle_verdict clear(const heddle_event *event) {
    (void)event;
    heddle_bytes value;
    heddle_expect(heddle_state_get(&value) && value.len == 3);
    heddle_state_clear();
    heddle_expect(!heddle_state_get(&value) && value.len == 0 && value.data != NULL);
    return HEDDLE_DONE;
}

static void a_cleared_state_is_gone(void) {
    heddle_test *test = testing(clear);
    heddle_test_key(test, "k");
    heddle_test_given_state(test, "k", (heddle_bytes){(const uint8_t *)"a\0b", 3});
    heddle_expect(run_text(test, "a", "")->state == NULL);
    heddle_expect(heddle_test_state(test, "k") == NULL);
    heddle_test_free(test);
}

static heddle_verdict wait(const heddle_event *event) {
    return heddle_defer(1500, "%s is not there", event->key);
}

static void a_deferral_has_a_delay_and_a_reason(void) {
    heddle_test *test = testing(wait);
    const heddle_run *run = run_text(test, "a", "");
    heddle_expect_same(heddle_expect_defer(run), "a is not there");
    heddle_expect(run->verdict.delay_ms == 1500);
    heddle_test_free(test);
}

static heddle_verdict long_reason(const heddle_event *event) {
    (void)event;
    return heddle_reject("%0300d\xff!", 1);
}

static void a_reason_may_be_long_and_is_made_utf8(void) {
    heddle_test *test = testing(long_reason);
    const char *reason = heddle_expect_reject(run_text(test, "a", ""));
    heddle_expect_same(reason + 299, "1\xef\xbf\xbd!");
    heddle_test_free(test);
}

/* ---- The event ---------------------------------------------------------------------------------------- */

static heddle_verdict look(const heddle_event *event) {
    heddle_expect_same(event->id, "TEST/3");
    heddle_expect_same(event->key, "c1");
    heddle_expect(event->time.tv_sec == 1767225603 && event->time.tv_nsec == 0);
    heddle_expect_same(heddle_token(event, 0), "order");
    heddle_expect_same(heddle_token(event, 2), "c1");
    heddle_expect(heddle_token(event, 3) == NULL);
    heddle_expect(heddle_token_is(event, 1, "created"));
    heddle_expect(!heddle_token_is(event, 1, "create") && !heddle_token_is(event, 3, ""));
    heddle_expect(event->header_count == 3);
    heddle_expect_same(heddle_header_value(event, "Trace"), "a");
    heddle_expect_same(heddle_header_value(event, "trace"), "b");
    heddle_expect(heddle_header_value(event, "TRACE") == NULL);
    heddle_expect_same(heddle_header_nth(event, "Trace", 1), "c");
    heddle_expect(heddle_header_nth(event, "Trace", 2) == NULL);
    heddle_expect(heddle_attempt() == 2 && heddle_sequence() == 3 && heddle_deadline_ms() == 2000);
    heddle_expect_same(heddle_stream(), "TEST");
    heddle_expect_same(heddle_handler(), "credit");
    heddle_expect_same(heddle_correlation(), "SHOP/1");
    return HEDDLE_DONE;
}

static void an_event_has_what_the_test_gave_it(void) {
    heddle_test *test = testing(look);
    heddle_test_name(test, "credit");
    heddle_test_key(test, "{subject.2}");
    const heddle_header headers[] = {{"Trace", "a"}, {"trace", "b"}, {"Nats-Msg-Id", "x"}, {"Trace", "c"}};
    heddle_expect_done(heddle_test_run(test, &(heddle_test_event){.subject = "order.created.c1",
                                                                  .headers = headers,
                                                                  .header_count = 4,
                                                                  .sequence = 3,
                                                                  .attempt = 2,
                                                                  .correlation = "SHOP/1"}));
    heddle_test_free(test);
}

static heddle_verdict say_key(const heddle_event *event) {
    return heddle_reject("%s", event->key);
}

static void check_key(const char *key_template, const char *expected) {
    heddle_test *test = testing(say_key);
    heddle_test_stream(test, "SHOP");
    heddle_test_key(test, key_template);
    const heddle_header customer = {"Customer", "c2"};
    const heddle_run *run =
        heddle_test_run(test, &(heddle_test_event){.subject = "order.created.c1",
                                                   .payload = heddle_text("\xef\xbb\xbf{\"customer\":{\"id\":\"c3\",\"n\":4,"
                                                                          "\"list\":[1.0,100000000000000000001,true]}}"),
                                                   .headers = &customer,
                                                   .header_count = 1,
                                                   .sequence = 7});
    heddle_expect_same(heddle_expect_reject(run), expected);
    heddle_test_free(test);
}

static void a_key_template_takes_its_parts_from_the_event(void) {
    check_key("{subject}", "order.created.c1");
    check_key("{subject.2}", "c1");
    check_key("{header.Customer}", "c2");
    check_key("{payload./customer/id}", "c3");
    check_key("{payload./customer/n}", "4");
    check_key("{payload./customer/list/0}", "1.0");
    check_key("{payload./customer/list/1}", "100000000000000000001");
    check_key("{payload./customer/list/2}", "true");
    check_key("{event}", "SHOP/7");
    check_key("a-{subject.0}-{subject.2}-b", "a-order-c1-b");
}

static heddle_verdict read_text(const heddle_event *event) {
    const char *text;
    HEDDLE_TRY(heddle_event_text(event, &text));
    return heddle_retry("%s", text);
}

static void check_text(const char *payload, const char *cause) {
    heddle_test *test = testing(read_text);
    const char *reason = heddle_expect_reject(run_text(test, "a", payload));
    heddle_expect_same(reason, heddle_printf("cannot decode the payload: %s", cause));
    heddle_test_free(test);
}

static void a_payload_that_is_not_utf8_is_no_text(void) {
    heddle_test *test = testing(read_text);
    const char *text = "loom \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 and more that is plain";
    heddle_expect_same(heddle_expect_retry(run_text(test, "a", text)), text);
    heddle_test_free(test);
    check_text("\xff", "invalid utf-8 sequence of 1 bytes from index 0");
    check_text("ab\xe2\x82", "incomplete utf-8 byte sequence from index 2");
    check_text("abcdefghij\xed\xa0\x80", "invalid utf-8 sequence of 1 bytes from index 10");
    check_text("a\xf0\x90\x80x", "invalid utf-8 sequence of 3 bytes from index 1");
    check_text("a\xe2\x82x", "invalid utf-8 sequence of 2 bytes from index 1");
    check_text("\xc0\x80", "invalid utf-8 sequence of 1 bytes from index 0");
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static heddle_verdict read_json(const heddle_event *event) {
    heddle_json order;
    const char *id;
    uint64_t amount;
    int64_t change;
    double price;
    bool paid;
    heddle_json lines;
    HEDDLE_TRY(heddle_event_json(event, &order));
    HEDDLE_TRY(heddle_json_string(order, "id", &id));
    HEDDLE_TRY(heddle_json_u64(order, "amount", &amount));
    HEDDLE_TRY(heddle_json_i64(order, "change", &change));
    HEDDLE_TRY(heddle_json_double(order, "price", &price));
    HEDDLE_TRY(heddle_json_bool(order, "paid", &paid));
    HEDDLE_TRY(heddle_json_field(order, "lines", &lines));
    yyjson_mut_doc *doc = heddle_json_copy(order);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_mut_obj_add_uint(doc, root, "lines", yyjson_arr_size(lines.value));
    yyjson_mut_obj_remove_key(root, "lines");
    yyjson_mut_obj_add_uint(doc, root, "more", amount + 1);
    yyjson_mut_obj_add_sint(doc, root, "less", change - 1);
    yyjson_mut_obj_add_bool(doc, root, "open", !paid && price > 0);
    HEDDLE_TRY(heddle_publish_json("out.x", doc));
    HEDDLE_TRY(heddle_state_set_json(doc));
    HEDDLE_TRY(heddle_reply_json(doc));
    return HEDDLE_DONE;
}

static void json_is_read_and_written(void) {
    heddle_test *test = testing(read_json);
    /* A byte order mark before it is skipped. */
    const char *payload = "\xef\xbb\xbf{\"id\":\"o\",\"amount\":18446744073709551614,\"change\":-5,\"price\":2,\"paid\":false,"
                          "\"lines\":[1,2]}";
    const heddle_run *run = heddle_test_run(
        test, &(heddle_test_event){.subject = "a", .payload = heddle_text(payload), .reply_to = "_INBOX.x"});
    heddle_expect_done(run);
    const char *expected = "{\"less\":-6,\"id\":\"o\",\"amount\":18446744073709551614,\"change\":-5,\"price\":2,"
                           "\"paid\":false,\"more\":18446744073709551615,\"open\":true}";
    heddle_expect_json(heddle_expect_message(run, "out.x")->payload, expected);
    heddle_expect_json(*run->state, expected);
    heddle_expect_json(run->reply->payload, expected);
    heddle_expect_same(run->reply->subject, "_INBOX.x");
    heddle_test_free(test);
}

static void check_json(const char *payload, const char *cause) {
    heddle_test *test = testing(read_json);
    const char *reason = heddle_expect_reject(run_text(test, "a", payload));
    heddle_expect_same(reason, heddle_printf("cannot decode the payload: %s", cause));
    heddle_test_free(test);
}

static void json_that_is_not_what_is_expected_is_a_reject(void) {
    check_json("", "it is empty");
    check_json("[]", "expected an object with the field `id`, found array");
    check_json("{}", "missing field `id`");
    check_json("{\"id\":1}", "field `id`: expected a string, found uint");
    check_json("{\"id\":\"a\\u0000b\"}", "field `id`: a string that holds a NUL");
    check_json("{\"id\":\"a\",\"amount\":-1}", "field `amount`: expected an integer from 0 to 18446744073709551615, found "
                                               "sint");
    check_json("{\"id\":\"a\",\"amount\":1,\"change\":9223372036854775808}",
               "field `change`: expected an integer from -9223372036854775808 to 9223372036854775807, found uint");
    check_json("{\"id\":\"a\",\"amount\":1,\"change\":1,\"price\":\"2\"}", "field `price`: expected a number, found string");
    check_json("{\"id\":\"a\",\"amount\":1,\"change\":1,\"price\":2.5,\"paid\":null}",
               "field `paid`: expected true or false, found null");
    check_json("{\"id\":\"a\",\n \"amount\": tru}", "invalid literal, expected a valid literal such as 'true' at line 2 "
                                                    "column 12");
}

static heddle_verdict write_nothing(const heddle_event *event) {
    (void)event;
    yyjson_mut_doc *doc = heddle_json_new();
    heddle_expect(heddle_json_write(doc, NULL) == NULL);
    const heddle_error *error = heddle_publish_json("out.x", doc);
    heddle_expect(error->kind == HEDDLE_INVALID);
    heddle_expect(strstr(error->text, "publish on `out.x` refused: invalid: cannot be written as JSON: ") != NULL);
    heddle_expect(heddle_state_set_json(doc) != NULL && heddle_reply_json(doc) != NULL);
    heddle_json_array(doc);
    heddle_expect_same(heddle_json_write(doc, NULL), "[]");
    return HEDDLE_DONE;
}

static void a_document_that_cannot_be_written_is_refused(void) {
    heddle_test *test = testing(write_nothing);
    heddle_expect_done(run_text(test, "a", ""));
    heddle_test_free(test);
}

/* ---- Effects ------------------------------------------------------------------------------------------ */

static heddle_verdict publish_elsewhere(const heddle_event *event) {
    (void)event;
    HEDDLE_TRY(heddle_publish_text("other.x", "1"));
    return HEDDLE_DONE;
}

static void a_refused_effect_is_a_reject_that_says_which(void) {
    heddle_test *test = testing(publish_elsewhere);
    heddle_test_publishes(test, "out.*");
    heddle_expect_same(heddle_expect_reject(run_text(test, "a", "")),
                       "publish on `other.x` refused: not granted: subject `other.x` is outside of `publishes`");
    heddle_test_free(test);
}

static heddle_verdict reach_limits(const heddle_event *event) {
    (void)event;
    HEDDLE_TRY(heddle_publish_text("out.a", "1"));
    char large[100] = {0};
    const heddle_error *error = heddle_publish_bytes("out.b", large, sizeof large);
    heddle_expect(error->kind == HEDDLE_TOO_LARGE && error->limit == 99);
    heddle_expect_same(error->text, "publish on `out.b` refused: too large: the limit is 99 bytes");
    error = heddle_state_set_text("longer than ten bytes");
    heddle_expect_same(error->text, "state refused: too large: the limit is 10 bytes");
    HEDDLE_TRY(heddle_publish_text("out.c", "1"));
    error = heddle_publish_text("out.d", "1");
    heddle_expect(error->kind == HEDDLE_TOO_MANY && error->limit == 2);
    heddle_expect_same(error->text, "publish on `out.d` refused: too many messages: the limit is 2");
    return HEDDLE_DONE;
}

static void limits_hold(void) {
    heddle_test *test = testing(reach_limits);
    heddle_test_limits(test, (heddle_limits){.messages = 2, .output = 99, .state = 10});
    const heddle_run *run = run_text(test, "a", "");
    heddle_expect_done(run);
    heddle_expect(run->message_count == 2);
    heddle_test_free(test);
}

static heddle_verdict publish_with_all(const heddle_event *event) {
    (void)event;
    const heddle_header headers[] = {{"Priority", "low"}, {"Kind", ""}};
    HEDDLE_TRY(heddle_publish(&(heddle_message){.subject = "out.x",
                                                .payload = {(const uint8_t *)"a\0b", 3},
                                                .headers = headers,
                                                .header_count = 2,
                                                .delay_s = 90}));
    HEDDLE_TRY(heddle_publish(&(heddle_message){.subject = "out.empty"}));
    return HEDDLE_DONE;
}

static void a_message_carries_its_headers_and_its_delay(void) {
    heddle_test *test = testing(publish_with_all);
    const heddle_run *run = run_text(test, "a", "");
    heddle_expect_done(run);
    const heddle_published *message = heddle_expect_message(run, "out.x");
    heddle_expect(message->payload.len == 3 && memcmp(message->payload.data, "a\0b", 3) == 0);
    heddle_expect_same(heddle_published_header(message, "Priority"), "low");
    heddle_expect_same(heddle_published_header(message, "Kind"), "");
    heddle_expect(heddle_published_header(message, "kind") == NULL);
    heddle_expect(message->delay_s == 90);
    heddle_expect_text(heddle_expect_message(run, "out.empty")->payload, "");
    heddle_test_free(test);
}

static heddle_verdict answer_twice(const heddle_event *event) {
    const heddle_header yes = {"X", "yes"};
    HEDDLE_TRY(heddle_reply(event->payload, &yes, 1));
    HEDDLE_TRY(heddle_reply(event->payload, NULL, 0));
    return HEDDLE_DONE;
}

static void an_event_is_answered_once_if_it_asks(void) {
    heddle_test *test = testing(answer_twice);
    heddle_expect_same(heddle_expect_reject(run_text(test, "a", "")),
                       "reply refused: invalid: the event has no `Heddle-Reply-To` header");
    const heddle_run *run = heddle_test_run(test, &(heddle_test_event){.subject = "a", .reply_to = "_INBOX.x"});
    heddle_expect_same(heddle_expect_reject(run), "reply refused: invalid: the event is answered already");
    heddle_expect(run->reply == NULL);
    heddle_test_free(test);
}

static const char *tried_subject;
static heddle_header tried_header;

static heddle_verdict try_message(const heddle_event *event) {
    (void)event;
    HEDDLE_TRY(heddle_publish(
        &(heddle_message){.subject = tried_subject, .headers = &tried_header, .header_count = 1}));
    return HEDDLE_DONE;
}

static void check_message(const char *subject, const char *name, const char *value, const char *problem) {
    tried_subject = subject;
    tried_header = (heddle_header){name, value};
    heddle_test *test = testing(try_message);
    heddle_test_publishes(test, "order.*.c1");
    heddle_test_publishes(test, "out.>");
    const heddle_run *run = run_text(test, "a", "");
    if (problem == NULL) {
        heddle_expect_done(run);
    } else {
        const char *reason = heddle_expect_reject(run);
        heddle_expect(strstr(reason, problem) != NULL);
    }
    heddle_test_free(test);
}

static void only_plain_messages_pass(void) {
    check_message("out.x", "Priority", "low", NULL);
    check_message("out.x.y", "a", "", NULL);
    check_message("order.created.c1", "a", "b", NULL);
    check_message("order.created.c2", "a", "b", "not granted: subject `order.created.c2` is outside");
    check_message("order.created", "a", "b", "not granted: ");
    check_message("order.created.c1.x", "a", "b", "not granted: ");
    check_message("out", "a", "b", "not granted: ");
    check_message("", "a", "b", "invalid: subject `` has an empty token");
    check_message("out.", "a", "b", "has an empty token");
    check_message("out..x", "a", "b", "has an empty token");
    check_message("out.a b", "a", "b", "has a space or a control character");
    check_message("out.*", "a", "b", "has a wildcard");
    check_message("$JS.API", "a", "b", "is reserved");
    check_message("dead.shop.x", "a", "b", "is reserved");
    check_message("out.\xff", "a", "b", "subject `out.\xef\xbf\xbd` is not UTF-8");
    check_message("out.x", "", "b", "header `` has no name");
    check_message("out.x", "a b", "b", "not of plain characters");
    check_message("out.x", "a", "x\r\nb: c", "line break");
    check_message("out.x", "nats-msg-id", "b", "header `nats-msg-id` is set by the host alone");
    check_message("out.x", "Heddle-Cause", "b", "is set by the host alone");
    check_message("out.x", "TraceParent", "b", "is set by the host alone");
    check_message("out.x", "a", "\xff", "header `a` is not UTF-8");
}

/* ---- Config and log ----------------------------------------------------------------------------------- */

static heddle_verdict read_config(const heddle_event *event) {
    (void)event;
    uint64_t limit = 1000;
    int64_t offset = -1;
    double rate = 0.5;
    bool strict = true;
    HEDDLE_TRY(heddle_config_u64("limit", &limit));
    HEDDLE_TRY(heddle_config_i64("offset", &offset));
    HEDDLE_TRY(heddle_config_double("rate", &rate));
    HEDDLE_TRY(heddle_config_bool("strict", &strict));
    return heddle_reject("%" PRIu64 " %" PRId64 " %g %d", limit, offset, rate, strict);
}

static void check_config(const char *name, const char *value, const char *expected) {
    heddle_test *test = testing(read_config);
    heddle_test_config(test, name, "replaced");
    heddle_test_config(test, name, value);
    heddle_expect_same(run_text(test, "a", "")->verdict.reason, expected);
    heddle_test_free(test);
}

static void a_setting_that_cannot_be_read_is_tried_again(void) {
    check_config("other", "x", "1000 -1 0.5 1");
    check_config("limit", "18446744073709551615", "18446744073709551615 -1 0.5 1");
    check_config("limit", "18446744073709551616",
                 "config `limit` cannot be `18446744073709551616`: number too large to fit in target type");
    check_config("limit", "much", "config `limit` cannot be `much`: invalid digit found in string");
    check_config("limit", "-1", "config `limit` cannot be `-1`: invalid digit found in string");
    check_config("limit", "", "config `limit` cannot be ``: cannot parse integer from empty string");
    check_config("offset", "-9223372036854775808", "1000 -9223372036854775808 0.5 1");
    check_config("offset", "-9223372036854775809",
                 "config `offset` cannot be `-9223372036854775809`: number too small to fit in target type");
    check_config("rate", "1e3", "1000 -1 1000 1");
    check_config("rate", "1.5x", "config `rate` cannot be `1.5x`: invalid float literal");
    check_config("strict", "false", "1000 -1 0.5 0");
    check_config("strict", "no", "config `strict` cannot be `no`: provided string was not `true` or `false`");
    heddle_test *test = testing(read_config);
    heddle_test_config(test, "limit", "much");
    heddle_expect_retry(run_text(test, "a", ""));
    heddle_test_free(test);
}

static heddle_verdict log_all(const heddle_event *event) {
    heddle_log_trace("at %s", "trace");
    heddle_log_debug("at debug");
    heddle_log_info("at info");
    heddle_log_warn("at warn");
    heddle_log_error("%s", (const char *)event->payload.data);
    return HEDDLE_DONE;
}

static void log_lines_have_levels_and_are_utf8(void) {
    heddle_test *test = testing(log_all);
    const heddle_run *run = run_text(test, "a", "x\xe2\x82");
    heddle_expect(run->log_count == 5 && run->logs[0].level == HEDDLE_TRACE && run->logs[4].level == HEDDLE_ERROR);
    heddle_expect_same(run->logs[0].message, "at trace");
    heddle_expect_same(run->logs[4].message, "x\xef\xbf\xbd");
    heddle_test_free(test);
}

int main(void) {
    void (*const tests[])(void) = {
        each_key_has_a_state_of_its_own,
        what_a_failed_event_did_is_forgotten_but_its_log,
        a_state_that_cannot_be_read_is_a_reject,
        a_cleared_state_is_gone,
        a_deferral_has_a_delay_and_a_reason,
        a_reason_may_be_long_and_is_made_utf8,
        an_event_has_what_the_test_gave_it,
        a_key_template_takes_its_parts_from_the_event,
        a_payload_that_is_not_utf8_is_no_text,
        json_is_read_and_written,
        json_that_is_not_what_is_expected_is_a_reject,
        a_document_that_cannot_be_written_is_refused,
        a_refused_effect_is_a_reject_that_says_which,
        limits_hold,
        a_message_carries_its_headers_and_its_delay,
        an_event_is_answered_once_if_it_asks,
        only_plain_messages_pass,
        a_setting_that_cannot_be_read_is_tried_again,
        log_lines_have_levels_and_are_utf8,
    };
    size_t count_of_tests = sizeof tests / sizeof *tests;
    for (size_t i = 0; i < count_of_tests; i++) {
        tests[i]();
    }
    printf("%zu passed, 0 failed\n", count_of_tests);
    return 0;
}
