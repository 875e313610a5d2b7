;; Waits for an empty list. It must trap rather than wait for ever.
(func $handle (type $event)
  (call $poll (i32.const 16384) (i32.const 0) (i32.const 32))
  unreachable)
