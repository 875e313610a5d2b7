;; Exits with an error. It must count as a trap.
(func $handle (type $event)
  (call $exit (i32.const 1))
  unreachable)
