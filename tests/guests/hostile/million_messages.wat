;; Publishes a million messages, whatever the host says. It must be ended, and none must be seen.
(func $handle (type $event) (local $n i32)
  (loop $again
    (call $publish (@text "evil.flood") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 1000000))))
  (call $reject (@text "a million messages")))
