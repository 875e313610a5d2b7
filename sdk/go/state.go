package heddle

import "heddle/internal/host"

// State gives what the last event of this key has left, or what this event has set, read as JSON. It is the zero
// value of T if there is none; [StateBytes] tells the difference. The error is a [DecodeError].
//
// There is one value for each key of a handler. It is stored in the same commit as the effects, so it never disagrees
// with what was published. Events of a key run one at a time, so reading and then writing needs no lock.
func State[T any]() (T, error) {
	var value T
	data, found := host.State()
	if !found {
		return value, nil
	}
	if err := decode("state", data, &value); err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// SetState replaces the state of this key by value, written as JSON. The error is an [EffectError]: the state is larger
// than `limits.state`.
func SetState[T any](value T) error {
	var data []byte
	if err := encode("state", value, &data); err != nil {
		return err
	}
	return SetStateBytes(data)
}

// UpdateState reads the state of this key as [State] does, lets change alter it, and sets it. It gives the new value.
func UpdateState[T any](change func(value *T)) (T, error) {
	value, err := State[T]()
	if err != nil {
		return value, err
	}
	change(&value)
	return value, SetState(value)
}

// ClearState removes the state of this key. A key without state costs nothing.
func ClearState() {
	host.ClearState()
}

// StateText gives the state of this key as text, and whether there is one. The error is a [DecodeError] if it is not
// UTF-8.
func StateText() (string, bool, error) {
	data, found := host.State()
	value, err := text("state", data)
	return value, found, err
}

// SetStateText replaces the state of this key by a text. The error is an [EffectError].
func SetStateText(value string) error {
	return SetStateBytes([]byte(value))
}

// StateBytes gives the state of this key as it was stored, and whether there is one.
func StateBytes() ([]byte, bool) {
	return host.State()
}

// SetStateBytes replaces the state of this key. The error is an [EffectError]: the state is larger than `limits.state`.
func SetStateBytes(value []byte) error {
	return refused("state", host.SetState(value))
}
