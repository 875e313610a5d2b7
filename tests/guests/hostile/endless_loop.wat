;; Publishes a message and then loops for ever. The time limit must end it, and the message must never be seen.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (loop $again (br $again))
  unreachable)
