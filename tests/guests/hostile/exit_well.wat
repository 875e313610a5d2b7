;; Publishes, and exits as if all were well. That is no answer: it must count as a trap.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $exit (i32.const 0))
  unreachable)
