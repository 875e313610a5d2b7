;; Asks to see the event again in seven weeks, with a reason of four megabytes. It must wait, and the log stay small.
(memory $memory 80)
(func $handle (type $event)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 4194304))
  (call $defer (i32.const -1) (i32.const 65536) (i32.const 4194304)))
