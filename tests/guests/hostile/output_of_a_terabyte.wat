;; Prints a terabyte of zeroes in one call. It must trap.
(func $handle (type $event)
  (call $write_zeroes (call $stderr) (i64.const 1099511627776) (i32.const 32))
  unreachable)
