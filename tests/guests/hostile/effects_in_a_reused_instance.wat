;; Publishes a message that the next event of the same instance must not inherit: it fails each event's first run, and
;; is done on the second.
;; In heddle.toml: instances = { reuse = 1000 }
(func $handle (type $event)
  (global.set $noted (i32.const 0))
  (if (i32.eq (call $attempt) (i32.const 1))
    (then
      (call $try_subject (@text "evil.early"))
      (return (call $retry (@text "once more")))))
  (call $done))
