package heddle

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"heddle/internal/host"
)

// Config gives a value of the handler's `config` table of `heddle.toml`, and whether it is set. It does not change
// while an instance lives.
func Config(name string) (string, bool) {
	return host.Config(name)
}

// ConfigOr gives a value of the handler's `config` table read as T, or fallback if it is not set. T is a text, a
// bool, a number, a [time.Duration] such as "1m30s", or a type with UnmarshalText. The error is a [ConfigError].
//
//	limit, err := heddle.ConfigOr("limit", uint64(1000))
func ConfigOr[T any](name string, fallback T) (T, error) {
	value, found := host.Config(name)
	if !found {
		return fallback, nil
	}
	var parsed T
	if err := parse(value, &parsed); err != nil {
		var syntax *strconv.NumError
		if errors.As(err, &syntax) {
			err = syntax.Err
		}
		return fallback, &ConfigError{Name: name, Value: value, Err: err}
	}
	return parsed, nil
}

// ConfigError says that a setting cannot be read. Returned by a handler, it has the event tried again: the event is
// not to blame, and the config may be corrected before its attempts are used up.
type ConfigError struct {
	// Name of the setting.
	Name string
	// Value that cannot be read.
	Value string
	// Err is the cause.
	Err error
}

// Error names the setting, its value and the cause.
func (err *ConfigError) Error() string {
	return fmt.Sprintf("config `%s` cannot be `%s`: %v", err.Name, err.Value, err.Err)
}

// Unwrap gives the cause.
func (err *ConfigError) Unwrap() error {
	return err.Err
}

func parse(text string, into any) error {
	if own, ok := into.(encoding.TextUnmarshaler); ok {
		return own.UnmarshalText([]byte(text))
	}
	if duration, ok := into.(*time.Duration); ok {
		var err error
		*duration, err = time.ParseDuration(text)
		return err
	}
	value := reflect.ValueOf(into).Elem()
	switch value.Kind() {
	case reflect.String:
		value.SetString(text)
		return nil
	case reflect.Bool:
		parsed, err := strconv.ParseBool(text)
		value.SetBool(parsed)
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		parsed, err := strconv.ParseInt(text, 10, value.Type().Bits())
		value.SetInt(parsed)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		parsed, err := strconv.ParseUint(text, 10, value.Type().Bits())
		value.SetUint(parsed)
		return err
	case reflect.Float32, reflect.Float64:
		parsed, err := strconv.ParseFloat(text, value.Type().Bits())
		value.SetFloat(parsed)
		return err
	default:
		return fmt.Errorf("a setting cannot be read as %v", value.Type())
	}
}
