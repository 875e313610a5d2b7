;; Tells the host to put everything at 0, one thing over the other. It harms itself alone: it must run.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 0))
(func $handle (type $event) (call $done))
