;; Blocks on a timer of as many nanoseconds as there are. The bound on waiting must end it.
(func $handle (type $event)
  (call $block (call $timer (i64.const -1)))
  unreachable)
