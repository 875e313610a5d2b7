;; Publishes on a subject that is not UTF-8. It must trap.
(func $handle (type $event)
  (call $try_subject (@text "evil.\ff\fe"))
  unreachable)
