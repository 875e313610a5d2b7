;; Traps on the first run of an event, and is done on the second. Each event must take effect once.
(func $handle (type $event)
  (if (i32.eq (call $attempt) (i32.const 1)) (then (call $try_subject (@text "evil.early")) unreachable))
  (call $done))
