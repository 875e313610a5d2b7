// The conformance guest: the second token of the subject says what it does.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"heddle"
)

func init() {
	heddle.Handle(handle)
}

func main() {}

// What each verb does.
var verbs map[string]heddle.Handler

func init() {
	verbs = map[string]heddle.Handler{
		"echo": echo, "headers": headers, "text": text, "json": json, "verdict": verdict, "count": count,
		"fail": fail,
		"state": state, "later": later, "reply": reply, "context": context, "config": config, "log": log,
		"throw": throw, "refused": refused, "caught": caught, "many": many, "large": large, "loop": loop,
		"allocate": allocate, "recurse": recurse, "clock": clock, "random": random, "global": global,
		"async": async, "never": never,
	}
}

func handle(event *heddle.Event) error {
	verb, known := verbs[event.Token(1)]
	if !known {
		return heddle.Reject("unknown verb `%s`", event.Token(1))
	}
	return verb(event)
}

// The subject on which a verb publishes.
func out(event *heddle.Event) string {
	return "out." + event.Token(1) + "." + event.Key
}

func echo(event *heddle.Event) error {
	var options []heddle.Option
	for _, header := range event.Headers {
		name := strings.ToLower(header.Name)
		ours := !strings.HasPrefix(name, "nats-") && !strings.HasPrefix(name, "heddle-") && name != "traceparent"
		if ours && len(options) < 64 {
			options = append(options, heddle.WithHeader(header.Name, header.Value))
		}
	}
	return heddle.Publish(out(event), event.Payload, options...)
}

func headers(event *heddle.Event) error {
	pairs := make([][2]string, 0, len(event.Headers))
	for _, header := range event.Headers {
		pairs = append(pairs, [2]string{header.Name, header.Value})
	}
	return heddle.Publish(out(event), pairs)
}

func text(event *heddle.Event) error {
	text, err := event.Text()
	if err != nil {
		return err
	}
	runes := []rune(text)
	chars := len(runes)
	slices.Reverse(runes)
	return heddle.Publish(out(event), map[string]any{"chars": chars, "reversed": string(runes)})
}

func json(event *heddle.Event) error {
	var given struct {
		Name *string `json:"name"`
		N    *int64  `json:"n"`
	}
	if err := event.JSON(&given); err != nil {
		return err
	}
	if given.Name == nil || given.N == nil {
		return &heddle.DecodeError{What: "payload", Err: errors.New("`name` or `n` is missing")}
	}
	return heddle.Publish(out(event), map[string]any{"greeting": "hello " + *given.Name, "next": *given.N + 1})
}

func verdict(event *heddle.Event) error {
	var wish struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
		DelayMs int64  `json:"delay_ms"`
	}
	if err := event.JSON(&wish); err != nil {
		return err
	}
	if err := heddle.Publish(out(event), "forgotten"); err != nil {
		return err
	}
	switch wish.Verdict {
	case "done":
		return nil
	case "retry":
		return heddle.Retry("%s", wish.Reason)
	case "defer":
		return heddle.Defer(time.Duration(wish.DelayMs)*time.Millisecond, "%s", wish.Reason)
	default:
		return heddle.Reject("%s", wish.Reason)
	}
}

func count(event *heddle.Event) error {
	count, err := heddle.UpdateState(func(count *int) { *count++ })
	if err != nil {
		return err
	}
	return heddle.Publish(out(event), count)
}

// Fails at as many attempts as the event says, and counts after that.
func fail(event *heddle.Event) error {
	var fate struct {
		Times   int    `json:"times"`
		Verdict string `json:"verdict"`
	}
	if err := event.JSON(&fate); err != nil {
		return err
	}
	if heddle.Attempt() > fate.Times {
		return count(event)
	}
	switch fate.Verdict {
	case "retry":
		return heddle.Retry("asked to")
	case "reject":
		return heddle.Reject("asked to")
	}
	deeper("asked to")
	return nil
}

func state(event *heddle.Event) error {
	var wish struct {
		Op    string `json:"op"`
		Value any    `json:"value"`
	}
	if err := event.JSON(&wish); err != nil {
		return err
	}
	if err := change(wish.Op, wish.Value); err != nil {
		return err
	}
	var found struct {
		State *string `json:"state"`
		Bytes *int    `json:"bytes"`
	}
	if text, there, err := heddle.StateText(); there && err == nil {
		found.State = &text
	}
	if bytes, there := heddle.StateBytes(); there {
		length := len(bytes)
		found.Bytes = &length
	}
	return heddle.Publish(out(event), found)
}

func change(op string, value any) error {
	switch op {
	case "set":
		text, _ := value.(string)
		return heddle.SetStateText(text)
	case "set-bytes":
		list, _ := value.([]any)
		bytes := make([]byte, 0, len(list))
		for _, item := range list {
			number, _ := item.(float64)
			bytes = append(bytes, byte(number))
		}
		return heddle.SetStateBytes(bytes)
	case "clear":
		heddle.ClearState()
	}
	return nil
}

func later(event *heddle.Event) error {
	var wish struct {
		Seconds int64 `json:"seconds"`
	}
	if err := event.JSON(&wish); err != nil {
		return err
	}
	return heddle.Publish(out(event), "later", heddle.WithDelay(time.Duration(wish.Seconds)*time.Second))
}

func reply(event *heddle.Event) error {
	text, err := event.Text()
	if err != nil {
		return err
	}
	return heddle.Reply(text, heddle.WithHeader("X-Probe", "yes"))
}

func context(event *heddle.Event) error {
	left := heddle.TimeLeft()
	return heddle.Publish(out(event), map[string]any{
		"id":          event.ID,
		"subject":     event.Subject,
		"key":         event.Key,
		"attempt":     heddle.Attempt(),
		"stream":      heddle.Stream(),
		"sequence":    heddle.Sequence(),
		"handler":     heddle.HandlerName(),
		"correlation": heddle.Correlation(),
		"time_s":      event.Time.Unix(),
		"time_ns":     event.Time.Nanosecond(),
		"deadline":    0 < left && left <= time.Minute,
	})
}

func config(event *heddle.Event) error {
	name, err := event.Text()
	if err != nil {
		return err
	}
	value, found := heddle.Config(name)
	if !found {
		return heddle.Publish(out(event), nil)
	}
	return heddle.Publish(out(event), heddle.AsJSON(value))
}

func log(*heddle.Event) error {
	heddle.Log.Tracef("at trace")
	heddle.Log.Debugf("at debug")
	heddle.Log.Infof("at info")
	heddle.Log.Warnf("at warn")
	heddle.Log.Errorf("at error")
	fmt.Println("printed out")
	fmt.Fprintln(os.Stderr, "printed err")
	return nil
}

func throw(event *heddle.Event) error {
	text, err := event.Text()
	if err != nil {
		return err
	}
	deeper(text)
	return nil
}

//go:noinline
func deeper(text string) {
	deep(text)
}

//go:noinline
func deep(text string) {
	panic(text)
}

func refused(*heddle.Event) error {
	return heddle.Publish("secret.x", "hush")
}

func caught(event *heddle.Event) error {
	var refusal *heddle.EffectError
	if err := heddle.Publish("secret.x", "hush"); !errors.As(err, &refusal) {
		return heddle.Reject("not refused: %w", err)
	}
	err := heddle.Publish(out(event), map[string]any{"kind": refusal.Kind, "text": refusal.Error()})
	if err != nil {
		return err
	}
	if err := heddle.SetStateBytes(make([]byte, 1_000_000)); !errors.As(err, &refusal) {
		return heddle.Reject("not refused: %w", err)
	}
	return heddle.Publish(out(event), map[string]any{"kind": refusal.Kind, "limit": refusal.Limit})
}

func many(event *heddle.Event) error {
	var wish struct {
		N int `json:"n"`
	}
	if err := event.JSON(&wish); err != nil {
		return err
	}
	for i := range wish.N {
		if err := heddle.Publish(out(event), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	return nil
}

func large(event *heddle.Event) error {
	var wish struct {
		Bytes int `json:"bytes"`
	}
	if err := event.JSON(&wish); err != nil {
		return err
	}
	return heddle.Publish(out(event), strings.Repeat("a", wish.Bytes))
}

// Written to, so that no loop is taken for one that does nothing.
var sink uint64

func loop(*heddle.Event) error {
	for {
		sink++
	}
}

func allocate(*heddle.Event) error {
	var all [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		all = append(all, block)
		sink = uint64(len(all))
	}
}

func recurse(event *heddle.Event) error {
	sink = descend(event, 1)
	return nil
}

func descend(event *heddle.Event, depth uint64) uint64 {
	return descend(event, depth+1) + uint64(utf8.RuneLen(rune(depth)))
}

func clock(event *heddle.Event) error {
	return heddle.Publish(out(event), map[string]any{"now_ms": time.Now().UnixMilli()})
}

func random(event *heddle.Event) error {
	random := heddle.Rand()
	return heddle.Publish(out(event), []float64{random.Float64(), random.Float64(), random.Float64()})
}

var calls int

func global(event *heddle.Event) error {
	calls++
	return heddle.Publish(out(event), calls)
}

func async(event *heddle.Event) error {
	steps := make(chan int)
	go func() {
		defer close(steps)
		for step := range 3 {
			steps <- step
		}
		time.Sleep(10 * time.Millisecond)
	}()
	for range steps {
	}
	return heddle.Publish(out(event), heddle.AsJSON("awaited"))
}

func never(*heddle.Event) error {
	<-make(chan int)
	return nil
}
