// Package heddle is the SDK for Heddle handlers in Go.
//
// A handler is a function that takes an event and answers with an error or nil. What it publishes and the state it
// sets are held back by the host and take effect together if it answers nil. Otherwise they are forgotten. So a
// handler never has to undo anything.
//
//	package main
//
//	import "heddle"
//
//	func init() { heddle.Handle(credit) }
//
//	func main() {}
//
//	func credit(event *heddle.Event) error {
//		var created struct {
//			Order  string `json:"order"`
//			Amount uint64 `json:"amount"`
//		}
//		if err := event.JSON(&created); err != nil {
//			return err
//		}
//		total, err := heddle.UpdateState(func(total *uint64) { *total += created.Amount })
//		if err != nil {
//			return err
//		}
//		return heddle.Publish("credit.reserved."+event.Key, map[string]any{"order": created.Order, "total": total})
//	}
//
// # What an error does
//
//   - [Retry], [Defer] and [Reject] say themselves what becomes of the event.
//   - A [DecodeError] (the payload or the state cannot be read) rejects it: it would fail again.
//   - An [EffectError] (the host refused an effect) rejects it: it would be refused again.
//   - A [ConfigError] (a setting cannot be read) has it tried again: the event is not to blame.
//   - Every other error has it tried again, and so has a panic, whose stack is kept.
//
// They are found through errors that wrap them; the text of the whole error is the reason.
//
// # Instances
//
// An instance handles one event after another if `instances` in `heddle.toml` says so. Global variables then keep
// their values, but nothing may depend on it: the next event may run elsewhere. A goroutine must end before the
// handler returns: what is left of it would go on in the middle of another event.
//
// # Time and random numbers
//
// [time.Now] reads the time of the event. [time.Sleep] and timers end at once: the clock goes on by as much. Random
// numbers of [Rand] and of crypto/rand are the same on every run of one event. Those of the functions of
// math/rand and math/rand/v2 are not in an instance that is used again: the runtime seeds them once.
package heddle

// Handler handles one event. Its error says what becomes of the event; nil is done.
type Handler func(event *Event) error

// Handle makes a function the handler of this plugin. To be called once, in an init function.
func Handle(handler Handler) {
	HandleWith(func() (Handler, error) { return handler, nil })
}

// HandleWith makes the function that prepare gives the handler of this plugin. To be called once, in an init
// function.
//
// It is for what is dear to prepare, such as settings. prepare is called before the first event of an instance. If
// it fails, the event fails, and the next event calls it again. It should read the config only: what it takes from
// the first event would leak into the later ones.
func HandleWith(prepare func() (Handler, error)) {
	if registered != nil {
		panic("heddle.Handle is called twice")
	}
	var handler Handler
	registered = func(event *Event) error {
		if handler == nil {
			prepared, err := prepare()
			if err != nil {
				return err
			}
			handler = prepared
		}
		return handler(event)
	}
}

// The handler of this plugin.
var registered Handler
