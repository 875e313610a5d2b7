;; Waits for a million times the same timer. It must end, and hold no thread of the host for long.
(memory $memory 80)
(func $handle (type $event) (local $timer i32) (local $at i32)
  (local.set $timer (call $timer (i64.const 3600000000000)))
  (local.set $at (i32.const 65536))
  (loop $again
    (i32.store (local.get $at) (local.get $timer))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (br_if $again (i32.lt_u (local.get $at) (i32.const 4065536))))
  (call $poll (i32.const 65536) (i32.const 1000000) (i32.const 32))
  unreachable)
