//go:build wasip1

package heddle

import (
	"time"

	"heddle/internal/host"
)

func init() {
	host.Serve(func(given *host.Event) *host.Failure {
		if registered == nil {
			return host.Reject("the plugin has no handler: call heddle.Handle in an init function")
		}
		verdict := Answer(registered, read(given))
		switch verdict.Kind {
		case Retried:
			return host.Retry(verdict.Reason)
		case Deferred:
			return host.Defer(wholeMilliseconds(verdict.Delay), verdict.Reason)
		case Rejected:
			return host.Reject(verdict.Reason)
		default:
			return nil
		}
	})
}

func read(given *host.Event) *Event {
	event := &Event{
		ID:      given.Id,
		Subject: given.Subject,
		Key:     given.Key,
		Time:    time.Unix(int64(given.Time.Seconds), int64(given.Time.Nanoseconds)).UTC(),
		Payload: given.Payload,
	}
	if len(given.Headers) > 0 {
		event.Headers = make(Headers, len(given.Headers))
		for i, header := range given.Headers {
			event.Headers[i] = Header{Name: header.Name, Value: header.Value}
		}
	}
	return event
}
