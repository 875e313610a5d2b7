;; Calls a function through a table as if it were of another type. It must trap.
(type $other (func (param f64) (result i32)))
(table $table 1 funcref)
(elem (table $table) (i32.const 0) func $idle)
(func $idle)
(func $handle (type $event)
  (call_indirect $table (type $other) (f64.const 1) (i32.const 0)))
