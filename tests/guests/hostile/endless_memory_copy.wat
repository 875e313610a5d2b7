;; Moves ten megabytes by one byte again and again: each is one instruction. The time limit must end it.
(memory $memory 162)
(func $handle (type $event)
  (loop $again
    (memory.copy (i32.const 65537) (i32.const 65536) (i32.const 10485760))
    (br $again))
  unreachable)
