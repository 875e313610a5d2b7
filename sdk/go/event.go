package heddle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"heddle/internal/host"
)

// Event is one message of a stream. A handler must not change it.
type Event struct {
	// ID is `<stream>/<sequence>`: the same whenever this event is run again, so it serves as an idempotency key for
	// calls to the outside.
	ID string
	// Subject the event was published on.
	Subject string
	// Key that keeps this event in order, as the handler's `key` template gave it. State is kept by it.
	Key string
	// Time when the stream stored the event, in UTC. [time.Now] reads this very time while the event runs.
	Time time.Time
	// Headers in their order. `Nats-…` headers are not among them.
	Headers Headers
	// Payload as it was published.
	Payload []byte
}

// Header is one header of an event or a message.
type Header = host.Header

// Headers in their order. Names may repeat.
type Headers []Header

// Get gives the first value of a name, or "". Upper and lower case differ.
func (headers Headers) Get(name string) string {
	for _, header := range headers {
		if header.Name == name {
			return header.Value
		}
	}
	return ""
}

// Values gives all values of a name in their order. Upper and lower case differ.
func (headers Headers) Values(name string) []string {
	var values []string
	for _, header := range headers {
		if header.Name == name {
			values = append(values, header.Value)
		}
	}
	return values
}

// Token gives the token of the subject at index, counted from 0 as in `key = "{subject.2}"`. It is "" if the subject
// has no such token.
func (event *Event) Token(index int) string {
	for token := range strings.SplitSeq(event.Subject, ".") {
		if index == 0 {
			return token
		}
		index--
	}
	return ""
}

// Text gives the payload as text. The error is a [DecodeError] if it is not UTF-8.
func (event *Event) Text() (string, error) {
	return text("payload", event.Payload)
}

// What some producers put before JSON. It says nothing.
var byteOrderMark = []byte("\xef\xbb\xbf")

// JSON reads the payload into value, as [json.Unmarshal] does. A byte order mark before it is skipped. The error is a
// [DecodeError].
func (event *Event) JSON(value any) error {
	return decode("payload", bytes.TrimPrefix(event.Payload, byteOrderMark), value)
}

// DecodeError says that the payload or the state is not what the handler expects. Returned by a handler, it rejects
// the event.
type DecodeError struct {
	// What cannot be decoded: "payload" or "state".
	What string
	// Err is the cause.
	Err error
}

// Error is `cannot decode the payload: …` or `cannot decode the state: …`.
func (err *DecodeError) Error() string {
	return "cannot decode the " + err.What + ": " + err.Err.Error()
}

// Unwrap gives the cause.
func (err *DecodeError) Unwrap() error {
	return err.Err
}

func text(what string, data []byte) (string, error) {
	if !utf8.Valid(data) {
		valid := 0
		for valid < len(data) {
			r, size := utf8.DecodeRune(data[valid:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			valid += size
		}
		return "", &DecodeError{What: what, Err: fmt.Errorf("invalid UTF-8 at byte %d", valid)}
	}
	return string(data), nil
}

func decode(what string, data []byte, value any) error {
	if err := json.Unmarshal(data, value); err != nil {
		return &DecodeError{What: what, Err: err}
	}
	return nil
}
