;; Publishes so many headers that their size in bytes does not fit into 32 bits. It must trap.
(func $handle (type $event)
  (call $publish (@text "evil.a") (i32.const 1024) (i32.const 0x10000001) (i32.const 0) (i32.const 0) (i32.const 32))
  unreachable)
