;; Prints thousands of empty and very short lines at once, for ever. It must be ended, and be logged as little.
(memory $memory 3)
(func $handle (type $event) (local $stream i32)
  (memory.fill (i32.const 65536) (i32.const 10) (i32.const 65536))
  (local.set $stream (call $stderr))
  (loop $again
    (call $write (local.get $stream) (i32.const 65536) (i32.const 65536) (i32.const 32))
    (br $again))
  unreachable)
