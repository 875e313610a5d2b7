;; Calls itself through a table in a loop for ever. The time limit must end it.
(type $nothing (func))
(table $table 1 funcref)
(elem (table $table) (i32.const 0) func $idle)
(func $idle)
(func $handle (type $event)
  (loop $again
    (call_indirect $table (type $nothing) (i32.const 0))
    (br $again))
  unreachable)
