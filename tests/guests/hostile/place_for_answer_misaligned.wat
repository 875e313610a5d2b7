;; Wants the host to write an answer to an odd place. It must trap.
(func $handle (type $event)
  (call $publish (@text "evil.a") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 33))
  unreachable)
