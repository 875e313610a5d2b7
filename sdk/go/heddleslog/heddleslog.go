// Package heddleslog lets [log/slog] write to the handler's log, with its levels.
//
//	func init() {
//		slog.SetDefault(slog.New(heddleslog.NewHandler()))
//		heddle.Handle(handle)
//	}
package heddleslog

import (
	"bytes"
	"context"
	"log/slog"

	"heddle"
	"heddle/internal/host"
)

// NewHandler makes a handler that writes a record as one line, such as `msg="order placed" order=o-1`. Levels below
// [slog.LevelDebug] become [heddle.LevelTrace]. The host decides which levels are shown.
func NewHandler() slog.Handler {
	return handler{func(into *bytes.Buffer) slog.Handler {
		return slog.NewTextHandler(into, &slog.HandlerOptions{Level: lowest, ReplaceAttr: withoutTimeAndLevel})
	}}
}

// Every level is written.
const lowest = slog.Level(-1 << 31)

// Writes each record by a text handler of its own, so that no line mixes with another.
type handler struct {
	text func(into *bytes.Buffer) slog.Handler
}

func (handler) Enabled(context.Context, slog.Level) bool {
	return true
}

func (h handler) Handle(ctx context.Context, record slog.Record) error {
	var line bytes.Buffer
	if err := h.text(&line).Handle(ctx, record); err != nil {
		return err
	}
	host.Log(level(record.Level), string(bytes.TrimSuffix(line.Bytes(), []byte("\n"))))
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{func(into *bytes.Buffer) slog.Handler { return h.text(into).WithAttrs(attrs) }}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{func(into *bytes.Buffer) slog.Handler { return h.text(into).WithGroup(name) }}
}

// The host knows both better.
func withoutTimeAndLevel(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 && (attr.Key == slog.TimeKey || attr.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return attr
}

func level(level slog.Level) heddle.Level {
	switch {
	case level >= slog.LevelError:
		return heddle.LevelError
	case level >= slog.LevelWarn:
		return heddle.LevelWarn
	case level >= slog.LevelInfo:
		return heddle.LevelInfo
	case level >= slog.LevelDebug:
		return heddle.LevelDebug
	default:
		return heddle.LevelTrace
	}
}
