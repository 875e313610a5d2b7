;; Publishes a payload that ends one byte behind its memory. It must trap.
(func $handle (type $event)
  (call $try_payload (i32.const 131000) (i32.const 73))
  unreachable)
