package heddletest

import (
	"bytes"
	"math"
	"slices"
	"time"

	"heddle"
	"heddle/internal/host"
)

// What a handler can ask for or change while its event runs.
type world struct {
	attempt     uint32
	stream      string
	sequence    uint64
	handler     string
	correlation string
	replyTo     string
	config      map[string]string
	publishes   []string
	limits      Limits
	state       []byte
	hasState    bool
	messages    []*Message
	reply       *Message
	logs        []LogLine
}

func (world *world) Publish(subject string, headers []heddle.Header, payload []byte, seconds uint32) *host.Refusal {
	if refusal := checkSubject(subject, world.publishes); refusal != nil {
		return refusal
	}
	if refusal := checkHeaders(headers); refusal != nil {
		return refusal
	}
	if limit := world.limits.Messages; len(world.messages) >= int(limit) {
		return &host.Refusal{Kind: host.TooMany, Limit: uint64(limit)}
	}
	message := &Message{
		Subject: subject,
		Headers: slices.Clone(headers),
		Payload: bytes.Clone(payload),
		Delay:   time.Duration(seconds) * time.Second,
	}
	if refusal := world.checkOutput(message); refusal != nil {
		return refusal
	}
	world.messages = append(world.messages, message)
	return nil
}

func (world *world) Reply(headers []heddle.Header, payload []byte) *host.Refusal {
	if world.replyTo == "" {
		return invalid("the event has no `Heddle-Reply-To` header")
	}
	if refusal := checkHeaders(headers); refusal != nil {
		return refusal
	}
	if world.reply != nil {
		return invalid("the event is answered already")
	}
	reply := &Message{Subject: world.replyTo, Headers: slices.Clone(headers), Payload: bytes.Clone(payload)}
	if refusal := world.checkOutput(reply); refusal != nil {
		return refusal
	}
	world.reply = reply
	return nil
}

// The output of an event is the sum of what its messages and its reply hold.
func (world *world) checkOutput(next *Message) *host.Refusal {
	size := next.size()
	for _, message := range world.messages {
		size += message.size()
	}
	if world.reply != nil {
		size += world.reply.size()
	}
	if uint64(size) > world.limits.Output {
		return &host.Refusal{Kind: host.TooLarge, Limit: world.limits.Output}
	}
	return nil
}

func (world *world) State() ([]byte, bool) {
	return bytes.Clone(world.state), world.hasState
}

func (world *world) SetState(value []byte) *host.Refusal {
	if uint64(len(value)) > world.limits.State {
		return &host.Refusal{Kind: host.TooLarge, Limit: world.limits.State}
	}
	world.state, world.hasState = bytes.Clone(value), true
	return nil
}

func (world *world) ClearState() {
	world.state, world.hasState = nil, false
}

func (world *world) Attempt() uint32     { return world.attempt }
func (world *world) Stream() string      { return world.stream }
func (world *world) Sequence() uint64    { return world.sequence }
func (world *world) HandlerName() string { return world.handler }
func (world *world) Correlation() string { return world.correlation }

func (world *world) DeadlineMs() uint32 {
	return uint32(min(world.limits.Time.Milliseconds(), math.MaxUint32))
}

func (world *world) Config(name string) (string, bool) {
	value, found := world.config[name]
	return value, found
}

func (world *world) Log(level heddle.Level, message string) {
	world.logs = append(world.logs, LogLine{Level: level, Message: message})
}
