;; Publishes and asks for another try, always. It must be a dead letter after its attempts.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $retry (@text "once more")))
