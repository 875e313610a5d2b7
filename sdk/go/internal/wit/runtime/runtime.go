//go:build wasip1

// Package runtime gives the generated bindings memory that the host can write to.
//
// Taken from the package wit/runtime of go.bytecodealliance.org/pkg v0.4.0, under the licence beside it, and
// changed: what only resources need is left out; so is the call that stops the clock of the WASI adapter, for the
// build gives this module a clock that asks nobody; and memory before the start is not taken from the runtime.
package runtime

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Allocate gives pinned memory.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	pointer := allocateRaw(size, align)
	pinner.Pin(pointer)
	return pointer
}

func allocateRaw(size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	if size%align != 0 {
		panic(fmt.Sprintf("size %v is not compatible with alignment %v", size, align))
	}
	switch align {
	case 1:
		return unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		return unsafe.Pointer(unsafe.SliceData(make([]uint16, size/align)))
	case 4:
		return unsafe.Pointer(unsafe.SliceData(make([]uint32, size/align)))
	case 8:
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, size/align)))
	default:
		panic(fmt.Sprintf("unsupported alignment: %v", align))
	}
}

// The WASI adapter asks for its own memory before the runtime is ready to give any, and never gives it back.
var early [256 << 10]byte

var earlyUsed uintptr

var ready = false

func init() {
	ready = true
}

func offset(pointer, align uintptr) uintptr {
	aligned := (pointer + align - 1) &^ (align - 1)
	return aligned - pointer
}

var pinner = runtime.Pinner{}

// Unpin gives up the memory that the host has asked for so far.
func Unpin() {
	pinner.Unpin()
}

// Asked for by the host, which waits: nothing here may call it.
//
//go:wasmexport cabi_realloc
func cabiRealloc(oldPointer unsafe.Pointer, oldSize, align, newSize uintptr) unsafe.Pointer {
	if oldPointer != nil || oldSize != 0 {
		panic("memory of the host never grows")
	}
	if ready {
		return Allocate(&pinner, newSize, align)
	}
	start := uintptr(unsafe.Pointer(&early)) + earlyUsed
	earlyUsed += offset(start, align) + newSize
	if earlyUsed > unsafe.Sizeof(early) {
		panic("the host asks for too much memory before the start")
	}
	return unsafe.Pointer(start + offset(start, align))
}
