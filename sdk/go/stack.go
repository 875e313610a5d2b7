package heddle

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// What a panic says, and below it the stack of the handler, one frame a line. To be called by the function that
// recovers.
func panicked(value any) string {
	var text strings.Builder
	fmt.Fprintf(&text, "panic: %v", value)
	const most = 64
	callers := make([]uintptr, most)
	// Left out are the function that recovers, this one and the one it calls.
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if frame.Function == answer {
			break
		}
		if !strings.HasPrefix(frame.Function, "runtime.") && !strings.HasPrefix(frame.Function, "heddle.") {
			fmt.Fprintf(&text, "\n%s (%s:%d)", frame.Function, relative(frame.File), frame.Line)
		}
	}
	return text.String()
}

// The function that stands between the plugin and its handler.
const answer = "heddle.Answer"

// A file of the plugin's own module is named as seen from its folder.
func relative(file string) string {
	return strings.TrimPrefix(file, module()+"/")
}

var module = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Path
	}
	return ""
})
