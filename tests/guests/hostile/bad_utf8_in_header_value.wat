;; Publishes a header whose value writes a slash in two bytes. It must trap.
(func $handle (type $event)
  (call $try_header (@text "a") (@text "\c0\af"))
  unreachable)
