;; Answers for ever, though nobody asked, with half a megabyte each time. It must be ended.
(memory $memory 16)
(func $handle (type $event)
  (loop $again
    (call $reply (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 524288) (i32.const 32))
    (br $again))
  unreachable)
