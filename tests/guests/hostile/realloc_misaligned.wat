;; Tells the host to put lists at odd places. It must trap, where alignment counts, or run: never more.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65537))
(func $handle (type $event)
  (call $state_set (i32.const 16384) (i32.const 8) (i32.const 32))
  (call $environment (i32.const 32))
  (call $done))
