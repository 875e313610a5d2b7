package heddle_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"heddle"
	"heddle/heddletest"
)

// Runs a handler once.
func run(t *testing.T, event heddletest.Event, handle heddle.Handler) *heddletest.Run {
	t.Helper()
	if event.Subject == "" {
		event.Subject = "order.created.c1"
	}
	handler := &heddletest.Handler{Handle: handle, Key: "{subject.2}"}
	return handler.Run(t, event)
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAnEventShowsWhatTheStreamHolds(t *testing.T) {
	when := time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	headers := heddle.Headers{{Name: "Kind", Value: "a"}, {Name: "kind", Value: "b"}, {Name: "Kind", Value: "c"}}
	event := heddletest.Event{Payload: "loom", Headers: headers, Sequence: 7, Time: when}
	run(t, event, func(event *heddle.Event) error {
		equal(t, event.ID, "TEST/7")
		equal(t, event.Key, "c1")
		equal(t, event.Time, when)
		equal(t, event.Token(0), "order")
		equal(t, event.Token(2), "c1")
		equal(t, event.Token(3), "")
		equal(t, event.Headers.Get("Kind"), "a")
		equal(t, event.Headers.Get("KIND"), "")
		equal(t, strings.Join(event.Headers.Values("Kind"), ","), "a,c")
		text, err := event.Text()
		equal(t, text, "loom")
		return err
	}).Done()
}

func TestAPayloadThatCannotBeReadRejectsTheEvent(t *testing.T) {
	text := func(event *heddle.Event) error {
		_, err := event.Text()
		return err
	}
	reason := run(t, heddletest.Event{Payload: []byte("ab\xff")}, text).Rejected()
	equal(t, reason, "cannot decode the payload: invalid UTF-8 at byte 2")
	number := func(event *heddle.Event) error {
		var number int
		return event.JSON(&number)
	}
	reason = run(t, heddletest.Event{Payload: "nope"}, number).Rejected()
	if !strings.HasPrefix(reason, "cannot decode the payload: ") {
		t.Error(reason)
	}
}

func TestAByteOrderMarkBeforeJSONIsSkippedAndStaysInText(t *testing.T) {
	run(t, heddletest.Event{Payload: []byte("\xef\xbb\xbf{\"order\":\"o-1\"}")}, func(event *heddle.Event) error {
		var order struct{ Order string }
		if err := event.JSON(&order); err != nil {
			return err
		}
		text, err := event.Text()
		equal(t, order.Order, "o-1")
		equal(t, text[:3], "\xef\xbb\xbf")
		return err
	}).Done()
}

func TestAPayloadIsSentAsItsTypeSays(t *testing.T) {
	for _, example := range []struct {
		payload any
		sent    string
	}{
		{[]byte{0xff}, "\xff"},
		{"loom", "loom"},
		{heddle.AsJSON("a<b"), `"a<b"`},
		{map[string]int{"n": 1}, `{"n":1}`},
		{[]string{"a"}, `["a"]`},
		{nil, "null"},
	} {
		run := run(t, heddletest.Event{}, func(*heddle.Event) error { return heddle.Publish("out.a", example.payload) })
		equal(t, run.Done().Message("out.a").Text(), example.sent)
	}
}

func TestAMessageHasHeadersAndADelayThatIsNeverShortened(t *testing.T) {
	run := run(t, heddletest.Event{}, func(*heddle.Event) error {
		late := heddle.WithDelay(1500 * time.Millisecond)
		return heddle.Publish("out.a", "x", heddle.WithHeader("Kind", "a"), heddle.WithHeader("Kind", "b"), late)
	})
	message := run.Done().Message("out.a")
	equal(t, strings.Join(message.Headers.Values("Kind"), ","), "a,b")
	equal(t, message.Delay, 2*time.Second)
}

func TestAReplyNeedsAnInbox(t *testing.T) {
	reply := func(*heddle.Event) error { return heddle.Reply("pong", heddle.WithHeader("Kind", "a")) }
	run1 := run(t, heddletest.Event{ReplyTo: "_INBOX.x"}, reply).Done()
	equal(t, run1.Reply.Subject, "_INBOX.x")
	equal(t, run1.Reply.Text(), "pong")
	reason := run(t, heddletest.Event{}, reply).Rejected()
	equal(t, reason, "reply refused: invalid: the event has no `Heddle-Reply-To` header")
}

func TestARefusedEffectSaysWhichAndWhy(t *testing.T) {
	handler := &heddletest.Handler{Publishes: []string{"out.>"}, Limits: heddletest.Limits{Messages: 1, State: 4}}
	check := func(effect func() error, kind heddle.RefusalKind, limit uint64, text string) {
		t.Helper()
		handler.Handle = func(*heddle.Event) error {
			var refused *heddle.EffectError
			if err := fmt.Errorf("wrapped: %w", effect()); !errors.As(err, &refused) {
				return err
			}
			equal(t, refused.Kind, kind)
			equal(t, refused.Limit, limit)
			return refused
		}
		equal(t, handler.Run(t, heddletest.Event{Subject: "a.b"}).Rejected(), text)
	}
	check(func() error { return heddle.Publish("secret.x", "") }, heddle.NotGranted, 0,
		"publish on `secret.x` refused: not granted: subject `secret.x` is outside of `publishes`")
	check(func() error { return heddle.Publish("out.*", "") }, heddle.Invalid, 0,
		"publish on `out.*` refused: invalid: subject `out.*` has a wildcard")
	check(func() error { return heddle.SetStateText("12345") }, heddle.TooLarge, 4,
		"state refused: too large: the limit is 4 bytes")
	check(func() error { return errors.Join(heddle.Publish("out.a", ""), heddle.Publish("out.b", "")) }, heddle.TooMany, 1,
		"publish on `out.b` refused: too many messages: the limit is 1")
	check(func() error { return heddle.Publish("out.a", make(chan int)) }, heddle.Invalid, 0,
		"publish on `out.a` refused: invalid: cannot be written as JSON: json: unsupported type: chan int")
}

func TestStateIsKeptForEachKey(t *testing.T) {
	handler := &heddletest.Handler{Key: "{subject.1}", Handle: func(event *heddle.Event) error {
		count, err := heddle.UpdateState(func(count *int) { *count++ })
		if err != nil {
			return err
		}
		return heddle.Publish("out."+event.Key, count)
	}}
	for i, key := range []string{"a", "b", "a"} {
		run := handler.Run(t, heddletest.Event{Subject: "in." + key}).Done()
		equal(t, run.Message("out."+key).Text(), []string{"1", "1", "2"}[i])
	}
}

func TestStateIsJSONOrTextOrBytes(t *testing.T) {
	run(t, heddletest.Event{}, func(*heddle.Event) error {
		_, found := heddle.StateBytes()
		equal(t, found, false)
		err := heddle.SetState([]int{1, 2})
		numbers, readErr := heddle.State[[]int]()
		equal(t, slices.Equal(numbers, []int{1, 2}), true)
		text, found, textErr := heddle.StateText()
		equal(t, text, "[1,2]")
		equal(t, found, true)
		err = errors.Join(err, readErr, textErr, heddle.SetStateText("loom"))
		heddle.ClearState()
		none, noneErr := heddle.State[*int]()
		equal(t, none, nil)
		return errors.Join(err, noneErr)
	}).Done()
	reason := run(t, heddletest.Event{}, func(*heddle.Event) error {
		if err := heddle.SetStateBytes([]byte{0xff}); err != nil {
			return err
		}
		_, _, err := heddle.StateText()
		return err
	}).Rejected()
	equal(t, reason, "cannot decode the state: invalid UTF-8 at byte 0")
}

func TestWhatAFailedRunDidIsForgottenButItsLogs(t *testing.T) {
	handler := &heddletest.Handler{Key: "{subject}", Handle: func(*heddle.Event) error {
		heddle.Log.Infof("at %s", "work")
		err := errors.Join(heddle.SetState(2), heddle.Publish("out.a", "x"))
		return errors.Join(err, heddle.Retry("no"))
	}}
	handler.GiveState(t, "in", 1)
	run := handler.Run(t, heddletest.Event{Subject: "in"})
	equal(t, run.Retried(), "no")
	equal(t, len(run.Messages), 0)
	var state int
	run.State(&state)
	equal(t, state, 1)
	equal(t, run.Logs[0], heddletest.LogLine{Level: heddle.LevelInfo, Message: "at work"})
}

func TestAnErrorSaysWhatBecomesOfTheEvent(t *testing.T) {
	cause := errors.New("broken")
	for _, example := range []struct {
		err     error
		verdict heddle.Verdict
	}{
		{cause, heddle.Verdict{Kind: heddle.Retried, Reason: "broken"}},
		{heddle.Retry("soon"), heddle.Verdict{Kind: heddle.Retried, Reason: "soon"}},
		{heddle.Reject("bad: %w", cause), heddle.Verdict{Kind: heddle.Rejected, Reason: "bad: broken"}},
		{
			fmt.Errorf("order 7: %w", heddle.Defer(1500*time.Microsecond, "later")),
			heddle.Verdict{Kind: heddle.Deferred, Reason: "order 7: later", Delay: 2 * time.Millisecond},
		},
		{
			heddle.Retry("again: %w", &heddle.DecodeError{What: "payload", Err: cause}),
			heddle.Verdict{Kind: heddle.Retried, Reason: "again: cannot decode the payload: broken"},
		},
		{
			&heddle.ConfigError{Name: "limit", Value: "x", Err: cause},
			heddle.Verdict{Kind: heddle.Retried, Reason: "config `limit` cannot be `x`: broken"},
		},
	} {
		got := run(t, heddletest.Event{}, func(*heddle.Event) error { return example.err }).Verdict
		equal(t, got, example.verdict)
	}
	if !errors.Is(heddle.Reject("bad: %w", cause), cause) {
		t.Error("the cause is lost")
	}
}

func fall(list []int) int {
	return list[5]
}

func TestAPanicIsARetryWithTheStackOfTheHandler(t *testing.T) {
	reason := run(t, heddletest.Event{}, func(*heddle.Event) error {
		return heddle.Publish("out.a", fall([]int{1}))
	}).Retried()
	lines := strings.Split(reason, "\n")
	equal(t, lines[0], "panic: runtime error: index out of range [5] with length 1")
	if !strings.HasPrefix(lines[1], "heddle_test.fall (") || !strings.Contains(lines[1], "heddle_test.go:") {
		t.Error(reason)
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "runtime.") || strings.HasPrefix(line, "heddle.") || strings.HasPrefix(line, "testing.") {
			t.Error(line)
		}
	}
}

func TestSettingsAreReadAsTheirType(t *testing.T) {
	config := map[string]string{"n": "7", "on": "true", "wait": "1m30s", "rate": "0.5", "name": "loom", "bad": "much"}
	handler := &heddletest.Handler{Config: config, Handle: func(*heddle.Event) error {
		_, found := heddle.Config("none")
		equal(t, found, false)
		setting(t, "n", uint8(1), 7)
		setting(t, "none", 3, 3)
		setting(t, "on", false, true)
		setting(t, "wait", time.Second, 90*time.Second)
		setting(t, "rate", 1.0, 0.5)
		setting(t, "name", "", "loom")
		_, err := heddle.ConfigOr("bad", 1)
		return err
	}}
	reason := handler.Run(t, heddletest.Event{Subject: "a"}).Retried()
	equal(t, reason, "config `bad` cannot be `much`: invalid syntax")
}

func setting[T comparable](t *testing.T, name string, fallback, want T) {
	t.Helper()
	got, err := heddle.ConfigOr(name, fallback)
	if err != nil {
		t.Error(err)
	}
	equal(t, got, want)
}

func TestTheRunIsDescribed(t *testing.T) {
	event := heddletest.Event{Attempt: 2, Sequence: 5, Correlation: "SHOP/1"}
	run(t, event, func(*heddle.Event) error {
		equal(t, heddle.Attempt(), 2)
		equal(t, heddle.Stream(), "TEST")
		equal(t, heddle.Sequence(), 5)
		equal(t, heddle.HandlerName(), "handler")
		equal(t, heddle.Correlation(), "SHOP/1")
		equal(t, heddle.TimeLeft(), 2*time.Second)
		return nil
	}).Done()
}

func TestRandomNumbersAreTheSameOnEveryRunOfAnEvent(t *testing.T) {
	draw := func(sequence uint64) (first, second uint64) {
		run(t, heddletest.Event{Sequence: sequence}, func(*heddle.Event) error {
			first, second = heddle.Rand().Uint64(), heddle.Rand().Uint64()
			return nil
		}).Done()
		return first, second
	}
	first, second := draw(1)
	again, _ := draw(1)
	other, _ := draw(2)
	equal(t, again, first)
	if first == second || first == other {
		t.Error("numbers repeat")
	}
}

func TestWhatIsPreparedFailsTheEventIfItCannotBe(t *testing.T) {
	prepare := func() (heddle.Handler, error) {
		limit, err := heddle.ConfigOr("limit", 10)
		return func(*heddle.Event) error { return heddle.Publish("out.a", limit) }, err
	}
	handler := &heddletest.Handler{Handle: heddletest.Fresh(prepare)}
	equal(t, handler.Run(t, heddletest.Event{Subject: "a"}).Done().Message("out.a").Text(), "10")
	handler.Config = map[string]string{"limit": "x"}
	equal(t, handler.Run(t, heddletest.Event{Subject: "a"}).Retried(), "config `limit` cannot be `x`: invalid syntax")
}
