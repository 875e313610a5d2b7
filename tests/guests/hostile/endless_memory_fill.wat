;; Fills ten megabytes again and again: each is one instruction. The time limit must end it.
(memory $memory 162)
(func $handle (type $event)
  (loop $again
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 10485760))
    (br $again))
  unreachable)
