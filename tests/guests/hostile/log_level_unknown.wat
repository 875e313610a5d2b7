;; Logs at a level that does not exist. It must trap.
(func $handle (type $event)
  (call $log (i32.const 77) (@text "x"))
  unreachable)
