;; Gives a handle back twice. It must trap.
(func $handle (type $event) (local $timer i32)
  (local.set $timer (call $timer (i64.const 1)))
  (call $drop_pollable (local.get $timer))
  (call $drop_pollable (local.get $timer))
  unreachable)
