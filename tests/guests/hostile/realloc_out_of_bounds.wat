;; Tells the host to put the event behind its memory. It must trap.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 131070))
(func $handle (type $event) (call $ok))
