package heddle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"heddle/internal/host"
)

// Publish publishes a message in the application's stream if the event is done. A payload of type []byte or string
// is sent as it is; every other is written as JSON. For a text or bytes in JSON there is [AsJSON].
//
// The host refuses subjects outside of the handler's `publishes`, wildcards, and more or larger messages than
// `limits` allows. The error is an [EffectError].
func Publish(subject string, payload any, options ...Option) error {
	effect := "publish on `" + subject + "`"
	message, err := compose(effect, payload, options)
	if err != nil {
		return err
	}
	seconds, fits := wholeSeconds(message.delay)
	if !fits {
		text := fmt.Sprintf("a delay of %d seconds is too long", int64(message.delay/time.Second))
		return refused(effect, &host.Refusal{Kind: host.Invalid, Text: text})
	}
	return refused(effect, host.Publish(subject, message.headers, message.payload, seconds))
}

// Reply answers the event, on the inbox that its publisher gave in the header `Heddle-Reply-To`. It is sent once
// after the commit and not repeated if the host dies in between. The payload is as in [Publish]. A reply has no
// delay.
//
// The error is an [EffectError]: the event has no such header, or is answered already, or the answer is too large.
func Reply(payload any, options ...Option) error {
	const effect = "reply"
	message, err := compose(effect, payload, options)
	if err != nil {
		return err
	}
	if message.delay != 0 {
		return refused(effect, &host.Refusal{Kind: host.Invalid, Text: "a reply has no delay"})
	}
	return refused(effect, host.Reply(message.headers, message.payload))
}

// Option adds to a message or a reply.
type Option func(message *message)

// WithHeader adds a header. Names may repeat; a message has at most 64. The host refuses names that begin with
// `Nats-` or `Heddle-`, and `traceparent`, which it sets itself.
func WithHeader(name, value string) Option {
	return func(message *message) {
		message.headers = append(message.headers, Header{Name: name, Value: value})
	}
}

// WithDelay has the message published after a delay, counted from the commit. It survives restarts of host and
// server. The host counts in whole seconds: a fraction counts as one more. The most is 4,294,967,295 seconds (136
// years). 0 and less is no delay.
func WithDelay(delay time.Duration) Option {
	return func(message *message) { message.delay = delay }
}

// AsJSON marks a payload that is to be written as JSON even if it is a []byte or a string.
func AsJSON(value any) any {
	return asJSON{value}
}

type asJSON struct{ value any }

type message struct {
	headers []Header
	payload []byte
	delay   time.Duration
}

func compose(effect string, payload any, options []Option) (message, error) {
	var message message
	for _, option := range options {
		option(&message)
	}
	switch payload := payload.(type) {
	case []byte:
		message.payload = payload
	case string:
		message.payload = []byte(payload)
	case asJSON:
		return message, encode(effect, payload.value, &message.payload)
	default:
		return message, encode(effect, payload, &message.payload)
	}
	return message, nil
}

// EffectError says that the host refused an effect. The handler may go on without it. Returned by a handler, it
// rejects the event.
type EffectError struct {
	// Effect that was refused, such as "publish on `order.created.c1`", "reply" or "state".
	Effect string
	// Kind says why.
	Kind RefusalKind
	// Limit is the limit in bytes if Kind is [TooLarge], and of messages if it is [TooMany].
	Limit uint64

	refusal host.Refusal
}

// RefusalKind says why an effect was refused.
type RefusalKind = host.Kind

const (
	// NotGranted is a subject outside of the handler's `publishes`.
	NotGranted = host.NotGranted
	// Invalid is a subject, a header or a payload that cannot be published.
	Invalid = host.Invalid
	// TooLarge is more bytes than allowed.
	TooLarge = host.TooLarge
	// TooMany is more messages than allowed for one event.
	TooMany = host.TooMany
)

// Error names the effect and the cause.
func (err *EffectError) Error() string {
	return err.Effect + " refused: " + err.refusal.String()
}

func refused(effect string, refusal *host.Refusal) error {
	if refusal == nil {
		return nil
	}
	return &EffectError{Effect: effect, Kind: refusal.Kind, Limit: refusal.Limit, refusal: *refusal}
}

func encode(effect string, value any, into *[]byte) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		text := "cannot be written as JSON: " + err.Error()
		return refused(effect, &host.Refusal{Kind: host.Invalid, Text: text})
	}
	*into = bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	return nil
}

// A delay is never shortened.
func wholeSeconds(delay time.Duration) (uint32, bool) {
	if delay <= 0 {
		return 0, true
	}
	seconds := delay / time.Second
	if delay%time.Second > 0 {
		seconds++
	}
	return uint32(seconds), seconds <= math.MaxUint32
}
