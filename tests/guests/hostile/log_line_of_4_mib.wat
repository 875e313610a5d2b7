;; Logs ten lines of four megabytes. They must be cut.
(memory $memory 80)
(func $handle (type $event) (local $n i32)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 4194304))
  (loop $again
    (call $log (i32.const 4) (i32.const 65536) (i32.const 4194304))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 10))))
  (call $done))
