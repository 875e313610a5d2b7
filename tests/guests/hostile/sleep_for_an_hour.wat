;; Blocks on a timer of an hour. The bound on waiting must end it.
(func $handle (type $event)
  (call $block (call $timer (i64.const 3600000000000)))
  unreachable)
