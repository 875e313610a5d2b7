package main

import (
	"testing"

	"heddle/heddletest"
)

func TestEveryThirdOrderEarnsAGift(t *testing.T) {
	handler := &heddletest.Handler{Handle: handle, Key: "{subject.2}", Publishes: []string{"gift.earned.*"}}
	placed := heddletest.Event{Subject: "order.placed.ada", Payload: `{"order": "o-1"}`}
	for range 2 {
		if run := handler.Run(t, placed).Done(); len(run.Messages) > 0 {
			t.Errorf("published on %q", run.Subjects())
		}
	}
	gift := handler.Run(t, placed).Done().Message("gift.earned.ada")
	if got := gift.Text(); got != `{"order":"o-1","number":1}` {
		t.Errorf("the gift is %s", got)
	}
}
