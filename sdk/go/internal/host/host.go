// Package host is what the SDK asks of its host: the real one in a plugin, a double everywhere else.
package host

import "fmt"

// Header is one header of an event or a message.
type Header struct {
	// Name of the header. Upper and lower case differ.
	Name string
	// Value of the header.
	Value string
}

// Level says how much a log line matters.
type Level uint8

// The levels, from the least to the most.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Kind says why an effect was refused.
type Kind string

// The kinds of refusals.
const (
	NotGranted Kind = "not-granted"
	Invalid    Kind = "invalid"
	TooLarge   Kind = "too-large"
	TooMany    Kind = "too-many"
)

// Refusal is why the host refused an effect.
type Refusal struct {
	Kind Kind
	// Text says what is wrong, for NotGranted and Invalid.
	Text string
	// Limit in bytes for TooLarge, of messages for TooMany.
	Limit uint64
}

// String is the refusal in words.
func (r *Refusal) String() string {
	switch r.Kind {
	case NotGranted:
		return "not granted: " + r.Text
	case TooLarge:
		return fmt.Sprintf("too large: the limit is %d bytes", r.Limit)
	case TooMany:
		return fmt.Sprintf("too many messages: the limit is %d", r.Limit)
	default:
		return "invalid: " + r.Text
	}
}
