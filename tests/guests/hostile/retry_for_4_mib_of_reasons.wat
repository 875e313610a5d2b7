;; Asks for another try with a reason of four megabytes. The dead letter must have its beginning, and the log no more.
(memory $memory 80)
(func $handle (type $event)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 4194304))
  (call $retry (i32.const 65536) (i32.const 4194304)))
