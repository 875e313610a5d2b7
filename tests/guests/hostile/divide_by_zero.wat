;; Divides by zero. It must trap.
(func $handle (type $event)
  (i32.div_u (i32.const 1) (i32.const 0)))
