//go:build !wasip1

package host

import "sync"

// Double stands in for the host. Its methods are what the functions of this package ask.
type Double interface {
	Publish(subject string, headers []Header, payload []byte, seconds uint32) *Refusal
	Reply(headers []Header, payload []byte) *Refusal
	State() ([]byte, bool)
	SetState(value []byte) *Refusal
	ClearState()
	Attempt() uint32
	Stream() string
	Sequence() uint64
	HandlerName() string
	Correlation() string
	DeadlineMs() uint32
	Config(name string) (string, bool)
	Log(level Level, message string)
}

var (
	// One event at a time, as in an instance of a plugin.
	entered sync.Mutex
	current Double
)

// Enter lets run ask a double. It waits for other runs to end.
func Enter(double Double, run func()) {
	entered.Lock()
	defer entered.Unlock()
	current = double
	defer func() { current = nil }()
	run()
}

func double() Double {
	if current == nil {
		panic("outside of a plugin the host can only be called within package heddletest")
	}
	return current
}

// Publish asks for a message, after a delay if seconds is not 0.
func Publish(subject string, headers []Header, payload []byte, seconds uint32) *Refusal {
	return double().Publish(subject, headers, payload, seconds)
}

// Reply asks for an answer.
func Reply(headers []Header, payload []byte) *Refusal { return double().Reply(headers, payload) }

// State of the key.
func State() ([]byte, bool) { return double().State() }

// SetState replaces the state of the key.
func SetState(value []byte) *Refusal { return double().SetState(value) }

// ClearState removes the state of the key.
func ClearState() { double().ClearState() }

// Attempt counts from 1.
func Attempt() uint32 { return double().Attempt() }

// Stream of the event.
func Stream() string { return double().Stream() }

// Sequence of the event in its stream.
func Sequence() uint64 { return double().Sequence() }

// HandlerName in `heddle.toml`.
func HandlerName() string { return double().HandlerName() }

// Correlation is the id of the first event of the chain.
func Correlation() string { return double().Correlation() }

// DeadlineMs is what is left of the run time in milliseconds.
func DeadlineMs() uint32 { return double().DeadlineMs() }

// Config is a value of the handler's table.
func Config(name string) (string, bool) { return double().Config(name) }

// Log writes a line. A line outside of a run is shown, so that a function that logs can be tested by itself.
func Log(level Level, message string) {
	if current == nil {
		println(message)
		return
	}
	current.Log(level, message)
}
