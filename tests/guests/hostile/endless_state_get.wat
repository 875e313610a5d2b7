;; Reads its largest state for ever, always to the same place. It must be ended.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65536))
(func $handle (type $event)
  (call $state_set (i32.const 65536) (i32.const 16384) (i32.const 32))
  (loop $again
    (call $state_get (i32.const 32))
    (br $again))
  unreachable)
