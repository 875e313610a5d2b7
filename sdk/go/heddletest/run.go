package heddletest

import (
	"encoding/json"
	"testing"
	"time"

	"heddle"
)

// Run is the verdict on one event and what it left. After a failure there are no messages, there is no reply, and the
// state is what it was before; only the log lines remain.
type Run struct {
	// Verdict of the handler, with a delay in whole milliseconds.
	Verdict heddle.Verdict
	// Messages that were published, in order.
	Messages []*Message
	// Reply to the event, on the inbox of its publisher; nil if there is none.
	Reply *Message
	// Logs in order.
	Logs []LogLine

	state    []byte
	hasState bool
	t        testing.TB
}

// Message is one that was published, or a reply.
type Message struct {
	// Subject; of a reply the inbox.
	Subject string
	// Headers that the handler gave.
	Headers heddle.Headers
	// Payload as it was published.
	Payload []byte
	// Delay after the commit, in whole seconds; 0 without one.
	Delay time.Duration
}

// LogLine is a line of the handler's log.
type LogLine struct {
	// Level says how much it matters.
	Level heddle.Level
	// Message is what it says.
	Message string
}

// Done asserts that the event is done.
func (run *Run) Done() *Run {
	run.t.Helper()
	run.expect(heddle.Done)
	return run
}

// Retried asserts that the event is to be tried again, and gives the reason.
func (run *Run) Retried() string {
	run.t.Helper()
	run.expect(heddle.Retried)
	return run.Verdict.Reason
}

// Deferred asserts that the event is deferred, and gives the delay and the reason.
func (run *Run) Deferred() (time.Duration, string) {
	run.t.Helper()
	run.expect(heddle.Deferred)
	return run.Verdict.Delay, run.Verdict.Reason
}

// Rejected asserts that the event is rejected, and gives the reason.
func (run *Run) Rejected() string {
	run.t.Helper()
	run.expect(heddle.Rejected)
	return run.Verdict.Reason
}

// Subjects of the messages, in order.
func (run *Run) Subjects() []string {
	subjects := make([]string, 0, len(run.Messages))
	for _, message := range run.Messages {
		subjects = append(subjects, message.Subject)
	}
	return subjects
}

// Message gives the only message on a subject.
func (run *Run) Message(subject string) *Message {
	run.t.Helper()
	var found []*Message
	for _, message := range run.Messages {
		if message.Subject == subject {
			found = append(found, message)
		}
	}
	if len(found) != 1 {
		run.t.Fatalf("expected one message on `%s` among %q, verdict %s %s",
			subject, run.Subjects(), run.Verdict.Kind, run.Verdict.Reason)
	}
	return found[0]
}

// State reads the state of the event's key after the run, which is JSON, into value.
func (run *Run) State(value any) {
	run.t.Helper()
	if !run.hasState {
		run.t.Fatalf("the key has no state")
	}
	if err := json.Unmarshal(run.state, value); err != nil {
		run.t.Fatalf("%v in: %s", err, run.state)
	}
}

// StateBytes gives the state of the event's key after the run as it was stored, and whether there is one.
func (run *Run) StateBytes() ([]byte, bool) {
	return run.state, run.hasState
}

// Text of the payload.
func (message *Message) Text() string {
	return string(message.Payload)
}

// JSON reads the payload into value.
func (message *Message) JSON(value any) error {
	return json.Unmarshal(message.Payload, value)
}

func (run *Run) expect(kind heddle.VerdictKind) {
	run.t.Helper()
	if run.Verdict.Kind != kind {
		run.t.Fatalf("expected the verdict %s, but: %s %s", kind, run.Verdict.Kind, run.Verdict.Reason)
	}
}

// What counts for `limits.output`.
func (message *Message) size() int {
	size := len(message.Subject) + len(message.Payload)
	for _, header := range message.Headers {
		size += len(header.Name) + len(header.Value)
	}
	return size
}
