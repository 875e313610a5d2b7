;; Calls through a table what is not there. It must trap.
(type $nothing (func))
(table $table 1 funcref)
(func $handle (type $event)
  (call_indirect $table (type $nothing) (i32.const 0))
  unreachable)
