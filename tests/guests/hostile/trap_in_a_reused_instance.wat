;; Publishes and traps, in an instance that would serve many events, and counts in a global. No event must find an
;; instance that has trapped before.
;; In heddle.toml: instances = { reuse = 1000 }
(global $events (mut i32) (i32.const 0))
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (if (global.get $events) (then (return (call $reject (@text "an instance lived on after a trap")))))
  (global.set $events (i32.const 1))
  unreachable)
