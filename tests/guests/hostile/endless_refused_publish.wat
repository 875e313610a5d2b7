;; Publishes for ever what is not granted, and ignores every refusal. It must be ended.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65536))
(func $handle (type $event)
  (loop $again
    (call $publish (@text "in.k0") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))
    (br $again))
  unreachable)
