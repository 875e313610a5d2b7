package heddletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"heddle"
)

// The key that a template, as in `heddle.toml`, gives an event.
func keyOf(template string, event *heddle.Event) (string, error) {
	var key strings.Builder
	rest := template
	for {
		text, after, found := strings.Cut(rest, "{")
		key.WriteString(text)
		if !found {
			return key.String(), nil
		}
		part, after, closed := strings.Cut(after, "}")
		if !closed {
			return "", fmt.Errorf("key template `%s`: `{` without `}`", template)
		}
		value, err := keyPart(template, part, event)
		if err != nil {
			return "", err
		}
		key.WriteString(value)
		rest = after
	}
}

func keyPart(template, part string, event *heddle.Event) (string, error) {
	kind, name, _ := strings.Cut(part, ".")
	value, known := "", true
	switch {
	case part == "subject":
		value = event.Subject
	case part == "event":
		value = event.ID
	case kind == "subject":
		index, err := strconv.ParseUint(name, 10, 16)
		if err != nil {
			return "", fmt.Errorf("key template `%s`: the token of a subject is a number", template)
		}
		value = event.Token(int(index))
	case kind == "header":
		value = event.Headers.Get(name)
	case kind == "payload":
		value = payloadPart(event.Payload, name)
	default:
		known = false
	}
	if !known {
		const parts = "`subject`, `subject.N`, `header.NAME`, `payload./POINTER` or `event`"
		return "", fmt.Errorf("key template `%s`: a part is %s", template, parts)
	}
	if value == "" {
		return "", fmt.Errorf("it lacks `%s`", part)
	}
	return value, nil
}

// The text or number at a JSON pointer, or "".
func payloadPart(payload []byte, pointer string) string {
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(payload, []byte("\xef\xbb\xbf"))))
	// A number is a key as it stands in the payload, with all its digits.
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return ""
	}
	for _, step := range strings.Split(pointer, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch inner := value.(type) {
		case map[string]any:
			value = inner[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || index < 0 || index >= len(inner) {
				return ""
			}
			value = inner[index]
		default:
			return ""
		}
	}
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case bool:
		return strconv.FormatBool(value)
	}
	return ""
}
