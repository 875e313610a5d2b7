//go:build wasip1

package host

import (
	"strings"

	bindings "heddle/internal/bindings/exports/export_heddle_plugin_handler"
	_ "heddle/internal/bindings/exports/wit_exports" // What the host calls.
	"heddle/internal/bindings/imports/heddle_plugin_config"
	"heddle/internal/bindings/imports/heddle_plugin_context"
	"heddle/internal/bindings/imports/heddle_plugin_effects"
	"heddle/internal/bindings/imports/heddle_plugin_log"
	"heddle/internal/bindings/imports/heddle_plugin_state"
	"heddle/internal/bindings/imports/heddle_plugin_types"
	wit "heddle/internal/wit/types"
)

type (
	// Event as the host hands it over.
	Event = heddle_plugin_types.Event
	// Failure as the host takes it.
	Failure = heddle_plugin_types.Failure
	result  = wit.Result[wit.Unit, heddle_plugin_types.EffectError]
)

// Tells the clock, which asks nobody, what time it is.
//
//go:wasmimport heddle_clock set_now
func setNow(nanoseconds int64)

// Serve calls answer for each event. It gives the failure, or nil if the event is done.
func Serve(answer func(event *Event) *Failure) {
	bindings.Handle = func(event Event) bindings.Result {
		setNow(int64(event.Time.Seconds)*1_000_000_000 + int64(event.Time.Nanoseconds))
		if failure := answer(&event); failure != nil {
			return wit.Err[wit.Unit](*failure)
		}
		return wit.Ok[wit.Unit, Failure](wit.Unit{})
	}
}

// Retry is a failure.
func Retry(reason string) *Failure {
	failure := heddle_plugin_types.MakeFailureRetry(utf8(reason))
	return &failure
}

// Defer is a failure.
func Defer(milliseconds uint32, reason string) *Failure {
	deferral := heddle_plugin_types.Deferral{DelayMs: milliseconds, Reason: utf8(reason)}
	failure := heddle_plugin_types.MakeFailureDefer(deferral)
	return &failure
}

// Reject is a failure.
func Reject(reason string) *Failure {
	failure := heddle_plugin_types.MakeFailureReject(utf8(reason))
	return &failure
}

// Publish asks for a message, after a delay if seconds is not 0.
func Publish(subject string, headers []Header, payload []byte, seconds uint32) *Refusal {
	message := heddle_plugin_types.Message{Subject: utf8(subject), Headers: written(headers), Payload: payload}
	if seconds == 0 {
		return refusal(heddle_plugin_effects.Publish(message))
	}
	return refusal(heddle_plugin_effects.PublishAfter(message, seconds))
}

// Reply asks for an answer.
func Reply(headers []Header, payload []byte) *Refusal {
	return refusal(heddle_plugin_effects.Reply(written(headers), payload))
}

// State of the key.
func State() ([]byte, bool) {
	state := heddle_plugin_state.Get()
	return state.SomeOr(nil), state.IsSome()
}

// SetState replaces the state of the key.
func SetState(value []byte) *Refusal {
	return refusal(heddle_plugin_state.Set(value))
}

// ClearState removes the state of the key.
func ClearState() {
	heddle_plugin_state.Clear()
}

// Attempt counts from 1.
func Attempt() uint32 {
	return heddle_plugin_context.Attempt()
}

// Stream of the event.
func Stream() string {
	return heddle_plugin_context.Stream()
}

// Sequence of the event in its stream.
func Sequence() uint64 {
	return heddle_plugin_context.Sequence()
}

// HandlerName in `heddle.toml`.
func HandlerName() string {
	return heddle_plugin_context.Handler()
}

// Correlation is the id of the first event of the chain.
func Correlation() string {
	return heddle_plugin_context.Correlation()
}

// DeadlineMs is what is left of the run time in milliseconds.
func DeadlineMs() uint32 {
	return heddle_plugin_context.DeadlineMs()
}

// Config is a value of the handler's table.
func Config(name string) (string, bool) {
	value := heddle_plugin_config.Get(utf8(name))
	return value.SomeOr(""), value.IsSome()
}

// Log writes a line.
func Log(level Level, message string) {
	heddle_plugin_log.Log(uint8(level), utf8(message))
}

func written(headers []Header) []heddle_plugin_types.Header {
	if len(headers) == 0 {
		return nil
	}
	written := make([]heddle_plugin_types.Header, len(headers))
	for i, header := range headers {
		written[i] = heddle_plugin_types.Header{Name: utf8(header.Name), Value: utf8(header.Value)}
	}
	return written
}

func refusal(result result) *Refusal {
	if result.IsOk() {
		return nil
	}
	switch err := result.Err(); err.Tag() {
	case heddle_plugin_types.EffectError_NotGranted:
		return &Refusal{Kind: NotGranted, Text: err.NotGranted()}
	case heddle_plugin_types.EffectError_TooLarge:
		return &Refusal{Kind: TooLarge, Limit: err.TooLarge()}
	case heddle_plugin_types.EffectError_TooMany:
		return &Refusal{Kind: TooMany, Limit: uint64(err.TooMany())}
	default:
		return &Refusal{Kind: Invalid, Text: err.Invalid()}
	}
}

// The host takes nothing else as text.
func utf8(text string) string {
	return strings.ToValidUTF8(text, "\uFFFD")
}
