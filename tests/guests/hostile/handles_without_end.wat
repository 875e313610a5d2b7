;; Makes timers and keeps every handle. It must trap when it has too many.
(func $handle (type $event)
  (loop $again
    (drop (call $timer (i64.const 3600000000000)))
    (br $again))
  unreachable)
