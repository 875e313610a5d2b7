;; Uses a handle that nobody gave to it. It must trap.
(func $handle (type $event)
  (call $block (i32.const 12345))
  unreachable)
