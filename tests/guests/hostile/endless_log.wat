;; Logs a line for ever. It must be ended, and its lines must be few.
(func $handle (type $event)
  (loop $again
    (call $log (i32.const 2) (@text "again and again"))
    (br $again))
  unreachable)
