//go:build wasip1

// Package export_heddle_plugin_handler is where the generated exports look for the handler.
package export_heddle_plugin_handler

import (
	"heddle/internal/bindings/imports/heddle_plugin_types"
	witTypes "heddle/internal/wit/types"
)

// Result is what the host is told of an event.
type Result = witTypes.Result[witTypes.Unit, heddle_plugin_types.Failure]

// Handle is set by package host before the first event.
var Handle func(event heddle_plugin_types.Event) Result
