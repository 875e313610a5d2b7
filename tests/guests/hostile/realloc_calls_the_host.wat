;; Calls the host while the host puts the event into its memory. It must trap.
(func $realloc (param i32 i32 i32 i32) (result i32)
  (drop (call $attempt))
  (i32.const 65536))
(func $handle (type $event) (call $ok))
