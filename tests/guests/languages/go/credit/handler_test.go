package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"heddle/heddletest"
)

func credit() *heddletest.Handler {
	return &heddletest.Handler{
		Handle:    handle,
		Key:       "{subject.2}",
		Publishes: []string{"credit.*.*"},
		Config:    map[string]string{"limit": "200"},
	}
}

func created(order string, amount uint64) heddletest.Event {
	payload := map[string]any{"order": order, "item": "loom", "amount": amount}
	return heddletest.Event{Subject: "order.created.c1", Payload: payload}
}

func cancelled(order string) heddletest.Event {
	payload := map[string]any{"order": order, "amount": 1, "reason": "discontinued"}
	return heddletest.Event{Subject: "order.cancelled.c1", Payload: payload}
}

func expect(t *testing.T, run *heddletest.Run, subject, payload string) {
	t.Helper()
	if got := run.Done().Message(subject).Text(); got != payload {
		t.Errorf("%s, not %s", got, payload)
	}
}

func TestCreditIsReservedUpToTheLimitAndNoFurther(t *testing.T) {
	credit := credit()
	run := credit.Run(t, created("o-1", 120))
	expect(t, run, "credit.reserved.c1", `{"order":"o-1","amount":120,"reserved":120,"limit":200}`)
	run = credit.Run(t, created("o-2", 81))
	expect(t, run, "credit.exceeded.c1", `{"order":"o-2","amount":81,"reserved":120,"limit":200}`)
	run = credit.Run(t, created("o-3", 80))
	if got := run.Done().Subjects(); !slices.Equal(got, []string{"credit.reserved.c1"}) {
		t.Errorf("%q", got)
	}
	if state, _ := run.StateBytes(); string(state) != `{"o-1":120,"o-3":80}` {
		t.Errorf("state %s", state)
	}
}

func TestACancelledOrderGivesBackWhatItHadOnce(t *testing.T) {
	credit := credit()
	credit.Run(t, created("o-1", 120)).Done()
	credit.Run(t, created("o-2", 30)).Done()
	run := credit.Run(t, cancelled("o-1"))
	expect(t, run, "credit.released.c1", `{"order":"o-1","amount":120,"reserved":30,"limit":200}`)
	if run := credit.Run(t, cancelled("o-1")).Done(); len(run.Messages) > 0 {
		t.Errorf("%q", run.Subjects())
	}
}

func TestACustomerWithoutReservationsHasNoState(t *testing.T) {
	credit := credit()
	credit.Run(t, created("o-1", 120)).Done()
	if state, found := credit.Run(t, cancelled("o-1")).Done().StateBytes(); found {
		t.Errorf("state %s", state)
	}
}

func TestAnOrderReservesOnce(t *testing.T) {
	credit := credit()
	credit.Run(t, created("o-1", 10)).Done()
	if got := credit.Run(t, created("o-1", 10)).Rejected(); got != "order `o-1` has a reservation already" {
		t.Error(got)
	}
}

func TestAnAmountBeyondAllNumbersExceedsTheLimit(t *testing.T) {
	credit := credit()
	credit.Config["limit"] = strconv.FormatUint(math.MaxUint64, 10)
	credit.Run(t, created("o-1", 1)).Done()
	credit.Run(t, created("o-2", math.MaxUint64)).Done().Message("credit.exceeded.c1")
}

func TestALimitThatIsNoNumberIsTriedAgain(t *testing.T) {
	credit := credit()
	credit.Config["limit"] = "much"
	if got := credit.Run(t, created("o-1", 1)).Retried(); !strings.HasPrefix(got, "config `limit` cannot be `much`") {
		t.Error(got)
	}
}
