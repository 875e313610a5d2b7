;; Logs five thousand lines that would clear a terminal and begin lines of their own. Few must be logged, as text.
(func $handle (type $event) (local $n i32)
  (loop $again
    (call $log (i32.const 4) (@text "\1b[2J\1b]0;title\07\r\n\0aERROR forged line\08\c2\9b31m\00"))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 5000))))
  (call $done))
