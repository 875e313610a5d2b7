;; Publishes headers from an odd place. It must trap.
(func $handle (type $event)
  (call $publish (@text "evil.a") (i32.const 16385) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 32))
  unreachable)
