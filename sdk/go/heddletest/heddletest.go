// Package heddletest runs a handler without a host, under the same contract.
//
// Everywhere but in a plugin, [heddle.Publish], [heddle.State] and the others reach a double of the host. It judges
// effects by the rules of the contract, and forgets them if the handler fails.
//
//	func TestADiscountIsGiven(t *testing.T) {
//		handler := &heddletest.Handler{
//			Handle:    discount,
//			Key:       "{subject.2}",
//			Publishes: []string{"price.offered.*"},
//			Config:    map[string]string{"off": "5"},
//		}
//		run := handler.Run(t, heddletest.Event{Subject: "price.asked.c1", Payload: 100})
//		run.Done()
//		if got := run.Message("price.offered.c1").Text(); got != "95" {
//			t.Errorf("offered %s", got)
//		}
//	}
//
// What does not hold ends the test that was given to [Handler.Run].
package heddletest

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"heddle"
	"heddle/internal/host"
)

// Handler is a handler under test, which runs one event after another and keeps a state for each key. All fields but
// Handle have defaults. Handlers of several tests may run at once; their events wait for each other.
type Handler struct {
	// Handle is the handler itself.
	Handle heddle.Handler
	// Name of the handler; "handler" by default.
	Name string
	// Stream it reads; "TEST" by default.
	Stream string
	// Key is the template of the key, as in `heddle.toml`: `{subject}`, `{subject.2}`, `{header.Customer}`,
	// `{payload./customer/id}` and `{event}`, which may be joined. "{subject}" by default.
	Key string
	// Publishes are the subjects it may publish on, with `*` and `>`. If nil, it may publish on every subject.
	Publishes []string
	// Config are its settings.
	Config map[string]string
	// Limits it runs under.
	Limits Limits

	states       map[string][]byte
	lastSequence uint64
}

// Limits is the `limits` table of a handler. 0 stands for the default.
type Limits struct {
	// Messages is the most messages for one event; 100 by default.
	Messages uint32
	// Output is the most bytes of subjects, headers and payloads for one event; 1 MiB by default.
	Output uint64
	// State is the most bytes of the state of a key; 256 KiB by default.
	State uint64
	// Time is the run time that [heddle.TimeLeft] tells; 2 seconds by default. It is not enforced.
	Time time.Duration
}

// Event is what a test hands to a handler. All fields but Subject have defaults.
type Event struct {
	// Subject of the event.
	Subject string
	// Payload: a []byte or a string as it is, nothing if nil, every other value as JSON.
	Payload any
	// Headers. `Nats-…` headers are not shown to the handler, as by the host.
	Headers heddle.Headers
	// ReplyTo asks for an answer on an inbox. Without it a reply is refused.
	ReplyTo string
	// Key in place of the one that the template gives.
	Key string
	// Sequence in the stream, which is part of the event's id; the next one by default.
	Sequence uint64
	// Time when the stream stored it; by default 2026-01-01 and one second for each sequence.
	Time time.Time
	// Attempt says which try this is; 1 by default.
	Attempt int
	// Correlation is the id of the event that began the chain; the event's own by default.
	Correlation string
}

// Fresh makes a handler of a function for [heddle.HandleWith]: it prepares again for each event.
func Fresh(prepare func() (heddle.Handler, error)) heddle.Handler {
	return func(event *heddle.Event) error {
		handler, err := prepare()
		if err != nil {
			return err
		}
		return handler(event)
	}
}

// GiveState sets the state, as JSON, that earlier events of key have left.
func (handler *Handler) GiveState(t testing.TB, key string, state any) {
	t.Helper()
	handler.GiveStateBytes(key, asJSON(t, state))
}

// GiveStateBytes sets the state that earlier events of key have left.
func (handler *Handler) GiveStateBytes(key string, state []byte) {
	if handler.states == nil {
		handler.states = map[string][]byte{}
	}
	handler.states[key] = state
}

// StateBytes gives the state of key as the events so far have left it, and whether there is one.
func (handler *Handler) StateBytes(key string) ([]byte, bool) {
	state, found := handler.states[key]
	return state, found
}

// Run runs the next event. If it fails, its effects and its state are forgotten.
func (handler *Handler) Run(t testing.TB, event Event) *Run {
	t.Helper()
	sequence := event.Sequence
	if sequence == 0 {
		sequence = handler.lastSequence + 1
	}
	handler.lastSequence = sequence
	shown := handler.show(t, event, sequence)
	world := handler.world(event, shown, sequence)
	var verdict heddle.Verdict
	host.Enter(world, func() { verdict = heddle.Answer(handler.Handle, shown) })
	run := &Run{Verdict: verdict, Logs: world.logs, t: t}
	if verdict.Kind == heddle.Done {
		run.Messages, run.Reply = world.messages, world.reply
		if world.hasState {
			handler.GiveStateBytes(shown.Key, world.state)
		} else {
			delete(handler.states, shown.Key)
		}
	}
	run.Verdict.Delay = asTheHostReadsIt(verdict.Delay)
	run.state, run.hasState = handler.StateBytes(shown.Key)
	return run
}

// The event as the handler sees it.
func (handler *Handler) show(t testing.TB, event Event, sequence uint64) *heddle.Event {
	t.Helper()
	shown := &heddle.Event{
		ID:      fmt.Sprintf("%s/%d", or(handler.Stream, "TEST"), sequence),
		Subject: event.Subject,
		Key:     event.Key,
		Time:    event.Time.UTC(),
	}
	if event.Time.IsZero() {
		shown.Time = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(sequence) * time.Second)
	}
	for _, header := range event.Headers {
		if !strings.HasPrefix(header.Name, "Nats-") {
			shown.Headers = append(shown.Headers, header)
		}
	}
	if event.ReplyTo != "" {
		shown.Headers = append(shown.Headers, heddle.Header{Name: "Heddle-Reply-To", Value: event.ReplyTo})
	}
	switch payload := event.Payload.(type) {
	case nil:
	case []byte:
		shown.Payload = payload
	case string:
		shown.Payload = []byte(payload)
	default:
		shown.Payload = asJSON(t, payload)
	}
	if shown.Key == "" {
		key, err := keyOf(or(handler.Key, "{subject}"), shown)
		if err != nil {
			t.Fatalf("the event has no key: %v", err)
		}
		shown.Key = key
	}
	return shown
}

func (handler *Handler) world(event Event, shown *heddle.Event, sequence uint64) *world {
	state, hasState := handler.StateBytes(shown.Key)
	limits := handler.Limits
	return &world{
		attempt:     uint32(or(event.Attempt, 1)),
		stream:      or(handler.Stream, "TEST"),
		sequence:    sequence,
		handler:     or(handler.Name, "handler"),
		correlation: or(event.Correlation, shown.ID),
		replyTo:     shown.Headers.Get("Heddle-Reply-To"),
		config:      maps.Clone(handler.Config),
		publishes:   handler.Publishes,
		limits: Limits{
			Messages: or(limits.Messages, 100),
			Output:   or(limits.Output, 1<<20),
			State:    or(limits.State, 256<<10),
			Time:     or(limits.Time, 2*time.Second),
		},
		state:    state,
		hasState: hasState,
	}
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func asJSON(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("it cannot be written as JSON: %v", err)
	}
	return data
}

// In whole milliseconds, never shortened.
func asTheHostReadsIt(delay time.Duration) time.Duration {
	const most = time.Duration(1<<32-1) * time.Millisecond
	return min((max(delay, 0)+time.Millisecond-1)/time.Millisecond*time.Millisecond, most)
}
