package heddle

import (
	"fmt"

	"heddle/internal/host"
)

// Log writes log lines. They carry the event's id and the handler's name and are bounded in length and number for each
// event. What is written to standard output and error, such as by package log, goes to the handler's log as well.
//
//	heddle.Log.Infof("order `%s` reserves %d", order, amount)
var Log Logger

// Logger is the type of [Log].
type Logger struct{}

// Level says how much a log line matters.
type Level = host.Level

const (
	// LevelTrace is for every step.
	LevelTrace = host.Trace
	// LevelDebug is for whoever looks for a fault.
	LevelDebug = host.Debug
	// LevelInfo is for what happens in the ordinary course.
	LevelInfo = host.Info
	// LevelWarn is for what is odd while nothing is lost.
	LevelWarn = host.Warn
	// LevelError is for what is lost, or when someone must act.
	LevelError = host.Error
)

// Tracef writes a line about a step.
func (Logger) Tracef(format string, args ...any) {
	host.Log(host.Trace, fmt.Sprintf(format, args...))
}

// Debugf writes a line for whoever looks for a fault.
func (Logger) Debugf(format string, args ...any) {
	host.Log(host.Debug, fmt.Sprintf(format, args...))
}

// Infof writes a line about what happens in the ordinary course.
func (Logger) Infof(format string, args ...any) {
	host.Log(host.Info, fmt.Sprintf(format, args...))
}

// Warnf writes a line about what is odd while nothing is lost.
func (Logger) Warnf(format string, args ...any) {
	host.Log(host.Warn, fmt.Sprintf(format, args...))
}

// Errorf writes a line about what is lost, or when someone must act.
func (Logger) Errorf(format string, args ...any) {
	host.Log(host.Error, fmt.Sprintf(format, args...))
}
