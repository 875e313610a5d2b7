;; Waits for an output stream as if it were a timer. It must trap.
(func $handle (type $event)
  (call $block (call $stdout))
  unreachable)
