;; Sleeps for a millisecond, for ever. The bound on waiting must end it.
(func $handle (type $event) (local $timer i32)
  (loop $again
    (local.set $timer (call $timer (i64.const 1000000)))
    (call $block (local.get $timer))
    (call $drop_pollable (local.get $timer))
    (br $again))
  unreachable)
