package heddle

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"heddle/internal/host"
)

// Attempt is 1 on the first run of this event, 2 on the first retry, and so on. Deferrals do not count.
func Attempt() int {
	return int(host.Attempt())
}

// Stream is the stream the event was read from.
func Stream() string {
	return host.Stream()
}

// Sequence is the event's sequence in that stream.
func Sequence() uint64 {
	return host.Sequence()
}

// HandlerName is the handler's name in `heddle.toml`.
func HandlerName() string {
	return host.HandlerName()
}

// Correlation is the id of the event that began this chain of events.
func Correlation() string {
	return host.Correlation()
}

// TimeLeft is what is left of `limits.time`, counted in run time, in steps of a millisecond. It is the one answer that
// is not the same on every run of an event.
func TimeLeft() time.Duration {
	return time.Duration(host.DeadlineMs()) * time.Millisecond
}

// Rand gives the random numbers of this event: the same ones on every run of it by this handler. It may be called
// more than once: the numbers go on. It is not for secrets: whoever knows the event can know the numbers.
func Rand() *rand.Rand {
	if running.random == nil {
		hash := fnv.New64a()
		hash.Write([]byte(running.event.ID))
		first := hash.Sum64()
		hash.Write([]byte(host.HandlerName()))
		running.random = rand.New(rand.NewPCG(first, hash.Sum64()))
	}
	return running.random
}

// What belongs to the event that runs.
var running struct {
	event  *Event
	random *rand.Rand
}
