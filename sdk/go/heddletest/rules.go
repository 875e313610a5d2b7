package heddletest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"heddle"
	"heddle/internal/host"
)

// The most headers of a message.
const mostHeaders = 64

// Subjects that begin so are the server's or the host's.
var reserved = []string{"$", "_heddle.", "_INBOX.", "dead."}

// A subject on which a handler may publish.
func checkSubject(subject string, publishes []string) *host.Refusal {
	if problem := subjectProblem(subject); problem != "" {
		return invalid("subject `%s` %s", escaped(subject), problem)
	}
	if publishes == nil {
		return nil
	}
	for _, pattern := range publishes {
		if covers(pattern, subject) {
			return nil
		}
	}
	text := fmt.Sprintf("subject `%s` is outside of `publishes`", subject)
	return &host.Refusal{Kind: host.NotGranted, Text: text}
}

func subjectProblem(subject string) string {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return "has an empty token"
		}
	}
	if strings.ContainsFunc(subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "has a space or a control character"
	}
	if strings.ContainsAny(subject, "*>") {
		return "has a wildcard"
	}
	for _, prefix := range reserved {
		if strings.HasPrefix(subject, prefix) {
			return "is reserved"
		}
	}
	return ""
}

// The headers of a message or a reply.
func checkHeaders(headers []heddle.Header) *host.Refusal {
	if len(headers) > mostHeaders {
		return invalid("%d headers, more than %d", len(headers), mostHeaders)
	}
	for _, header := range headers {
		if problem := headerProblem(header); problem != "" {
			return invalid("header `%s` %s", escaped(header.Name), problem)
		}
	}
	return nil
}

func headerProblem(header heddle.Header) string {
	lower := strings.ToLower(header.Name)
	notPlain := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }
	switch {
	case header.Name == "":
		return "has no name"
	case strings.ContainsFunc(header.Name, notPlain):
		return "has a name that is not of plain characters"
	case strings.HasPrefix(lower, "nats-"), strings.HasPrefix(lower, "heddle-"), lower == "traceparent":
		return "is set by the host alone"
	case strings.ContainsAny(header.Value, "\r\n\x00"):
		return "has a line break in its value"
	}
	return ""
}

// Whether a pattern with `*` and `>` covers a subject.
func covers(pattern, subject string) bool {
	tokens := strings.Split(subject, ".")
	for part := range strings.SplitSeq(pattern, ".") {
		if len(tokens) == 0 {
			return false
		}
		if part == ">" {
			return true
		}
		if part != "*" && part != tokens[0] {
			return false
		}
		tokens = tokens[1:]
	}
	return len(tokens) == 0
}

func invalid(format string, args ...any) *host.Refusal {
	return &host.Refusal{Kind: host.Invalid, Text: fmt.Sprintf(format, args...)}
}

func escaped(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
