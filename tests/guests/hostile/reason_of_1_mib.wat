;; Rejects with a reason of a megabyte. The dead letter must have its beginning.
(memory $memory 40)
(func $handle (type $event)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 1048576))
  (call $reject (i32.const 65536) (i32.const 1048576)))
