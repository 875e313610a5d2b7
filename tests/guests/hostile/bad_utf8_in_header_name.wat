;; Publishes a header whose name ends in the middle of a character. It must trap.
(func $handle (type $event)
  (call $try_header (@text "a\c3") (@text "b"))
  unreachable)
