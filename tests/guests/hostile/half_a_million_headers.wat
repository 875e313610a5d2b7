;; Publishes half a million empty headers: eight megabytes for the guest, many more for the host. It must trap.
(memory $memory 200)
(func $handle (type $event)
  (call $publish (@text "evil.a") (i32.const 65536) (i32.const 524288) (i32.const 0) (i32.const 0) (i32.const 32))
  unreachable)
