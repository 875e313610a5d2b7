;; Rejects with a reason that is more than the host takes in one call. It must end, and the host must not.
(memory $memory 200)
(func $handle (type $event)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 12582912))
  (call $reject (i32.const 65536) (i32.const 12582912)))
