package heddletest

import (
	"strings"
	"testing"

	"heddle"
	"heddle/internal/host"
)

func words(refusal *host.Refusal) string {
	if refusal == nil {
		return ""
	}
	return refusal.String()
}

func TestOnlyPlainSubjectsPass(t *testing.T) {
	for subject, problem := range map[string]string{
		"order.created.c1": "", "": "has an empty token", ".a": "has an empty token", "a..b": "has an empty token",
		"a.*": "has a wildcard", "a.b>": "has a wildcard", "a b": "has a space or a control character",
		"$JS.API.INFO": "is reserved", "_INBOX.x": "is reserved", "dead.shop.a": "is reserved",
	} {
		if problem != "" {
			problem = "invalid: subject `" + subject + "` " + problem
		}
		if got := words(checkSubject(subject, nil)); got != problem {
			t.Errorf("%q: %s", subject, got)
		}
	}
	if got := words(checkSubject("a\r\nb", nil)); !strings.Contains(got, "`a\\r\\nb`") {
		t.Error(got)
	}
}

func TestOnlySubjectsWithinPublishesPass(t *testing.T) {
	publishes := []string{"order.*.c1", "credit.>"}
	for subject, granted := range map[string]bool{
		"order.created.c1": true, "credit.reserved.c1": true, "order.created.c2": false, "order.created": false,
		"order.created.c1.x": false, "credit": false,
	} {
		if got := checkSubject(subject, publishes) == nil; got != granted {
			t.Errorf("%s: %v", subject, got)
		}
	}
	if checkSubject("a", []string{}) == nil {
		t.Error("an empty list grants nothing")
	}
}

func TestHeadersOfTheHostAndOfAnotherShapeAreRefused(t *testing.T) {
	for _, name := range []string{"Nats-Rollup", "nats-msg-id", "Heddle-Cause", "TraceParent", "", "a:b", "a b", "ä"} {
		if checkHeaders([]heddle.Header{{Name: name, Value: "x"}}) == nil {
			t.Errorf("%q", name)
		}
	}
	if checkHeaders([]heddle.Header{{Name: "a", Value: "x\r\nb: c"}}) == nil {
		t.Error("a line break")
	}
	if checkHeaders([]heddle.Header{{Name: "Priority", Value: "low"}}) != nil {
		t.Error("a plain header")
	}
	if checkHeaders(make([]heddle.Header, 65)) == nil {
		t.Error("65 headers")
	}
}

func TestAKeyTakesItsPartsFromTheEvent(t *testing.T) {
	event := &heddle.Event{
		ID:      "SHOP/7",
		Subject: "order.created.c1",
		Headers: heddle.Headers{{Name: "Customer", Value: "c2"}},
		Payload: []byte("\xef\xbb\xbf" + `{"customer":{"id":"c3","n":4,"list":["x",1.0,100000000000000000001,true]}}`),
	}
	for template, key := range map[string]string{
		"{subject}": "order.created.c1", "{subject.2}": "c1", "{header.Customer}": "c2", "{event}": "SHOP/7",
		"{payload./customer/id}": "c3", "{payload./customer/n}": "4", "{payload./customer/list/0}": "x",
		"{payload./customer/list/1}": "1.0", "{payload./customer/list/2}": "100000000000000000001",
		"{payload./customer/list/3}": "true",
		"a-{subject.0}-{subject.2}": "a-order-c1", "{subject.3}": "", "{header.customer}": "", "{payload./customer}": "",
		"{topic}": "", "{subject": "",
	} {
		got, err := keyOf(template, event)
		if got != key || (err == nil) != (key != "") {
			t.Errorf("%s: %q, %v", template, got, err)
		}
	}
}

func TestOutputIsWhatAllMessagesAndTheReplyHold(t *testing.T) {
	handler := &Handler{Limits: Limits{Output: 10}, Handle: func(*heddle.Event) error {
		if err := heddle.Reply("123"); err != nil {
			return err
		}
		return heddle.Publish("a", "45", heddle.WithHeader("b", "c"))
	}}
	run := handler.Run(t, Event{Subject: "in", ReplyTo: "r"})
	if got := run.Done().Subjects(); len(got) != 1 {
		t.Errorf("%q", got)
	}
	handler.Limits.Output = 8
	if got := handler.Run(t, Event{Subject: "in", ReplyTo: "r"}).Rejected(); !strings.Contains(got, "the limit is 8 bytes") {
		t.Error(got)
	}
}
