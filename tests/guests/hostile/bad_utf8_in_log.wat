;; Logs half of a surrogate pair. It must trap.
(func $handle (type $event)
  (call $log (i32.const 2) (@text "\ed\a0\80"))
  unreachable)
