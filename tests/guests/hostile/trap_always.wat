;; Publishes and traps, whatever the event. All must be dead letters.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  unreachable)
