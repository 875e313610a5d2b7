;; Calls itself without end when the host asks where to put the event. The stack limit must end it.
(func $realloc (param i32 i32 i32 i32) (result i32)
  (i32.add (i32.const 1)
    (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
(func $handle (type $event) (call $ok))
