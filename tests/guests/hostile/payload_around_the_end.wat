;; Publishes a payload whose end is, in 32 bits, before its beginning. It must trap.
(func $handle (type $event)
  (call $try_payload (i32.const -16) (i32.const 32))
  unreachable)
