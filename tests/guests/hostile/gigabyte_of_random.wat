;; Asks for a gigabyte of random numbers. It must trap.
(func $handle (type $event)
  (call $random (i64.const 1073741824) (i32.const 32))
  unreachable)
