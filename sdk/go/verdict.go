package heddle

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Retry makes an error that asks for another try after the handler's back-off, up to `max-attempts`; then the event
// becomes a dead letter. It takes what [fmt.Errorf] takes; what %w wraps can be unwrapped.
func Retry(format string, args ...any) error {
	return &Failure{Kind: Retried, Err: fmt.Errorf(format, args...)}
}

// Defer makes an error that asks for another try after at least delay, which is not counted as an attempt. A fraction
// of a millisecond counts as one more; the most is about 49 days, and what is longer is cut to it. It takes what
// [fmt.Errorf] takes.
func Defer(delay time.Duration, format string, args ...any) error {
	return &Failure{Kind: Deferred, Delay: delay, Err: fmt.Errorf(format, args...)}
}

// Reject makes an error that gives the event up: it becomes a dead letter at once. It takes what [fmt.Errorf] takes.
func Reject(format string, args ...any) error {
	return &Failure{Kind: Rejected, Err: fmt.Errorf(format, args...)}
}

// Failure is an error that says what becomes of the event. Made by [Retry], [Defer] and [Reject].
type Failure struct {
	// Kind is [Retried], [Deferred] or [Rejected].
	Kind VerdictKind
	// Delay until the next run if Kind is [Deferred].
	Delay time.Duration
	// Err is the reason.
	Err error
}

// Error is the reason.
func (failure *Failure) Error() string {
	return failure.Err.Error()
}

// Unwrap gives the reason.
func (failure *Failure) Unwrap() error {
	return failure.Err
}

// Verdict is what becomes of an event.
type Verdict struct {
	// Kind says which.
	Kind VerdictKind
	// Reason, shown to operators. "" if Kind is [Done]. After a panic the first line is the message, and each further
	// line is a frame of the stack.
	Reason string
	// Delay until the next run if Kind is [Deferred].
	Delay time.Duration
}

// VerdictKind says what becomes of an event.
type VerdictKind string

const (
	// Done: the effects and the state are stored.
	Done VerdictKind = "done"
	// Retried: the event runs again after the handler's back-off.
	Retried VerdictKind = "retry"
	// Deferred: the event runs again after a delay.
	Deferred VerdictKind = "defer"
	// Rejected: the event becomes a dead letter.
	Rejected VerdictKind = "reject"
)

// Answer runs a handler on an event and gives the verdict that the host gets. Package heddletest calls it for unit
// tests, and the plugin for each event; a handler has no use for it.
func Answer(handler Handler, event *Event) (verdict Verdict) {
	running.event, running.random = event, nil
	defer func() {
		if value := recover(); value != nil {
			verdict = Verdict{Kind: Retried, Reason: panicked(value)}
		}
	}()
	return judge(handler(event))
}

func judge(err error) Verdict {
	var (
		failure *Failure
		decode  *DecodeError
		effect  *EffectError
	)
	switch {
	case err == nil:
		return Verdict{Kind: Done}
	case errors.As(err, &failure):
		return Verdict{Kind: failure.Kind, Reason: err.Error(), Delay: failure.Delay}
	case errors.As(err, &decode), errors.As(err, &effect):
		return Verdict{Kind: Rejected, Reason: err.Error()}
	default:
		return Verdict{Kind: Retried, Reason: err.Error()}
	}
}

// A delay is never shortened, but by what does not fit.
func wholeMilliseconds(delay time.Duration) uint32 {
	if delay <= 0 {
		return 0
	}
	milliseconds := delay / time.Millisecond
	if delay%time.Millisecond > 0 {
		milliseconds++
	}
	return uint32(min(milliseconds, math.MaxUint32))
}
