;; Asks for page after page when the host asks where to put the event. The memory limit must end it.
(func $realloc (param i32 i32 i32 i32) (result i32)
  (loop $again
    (drop (memory.grow (i32.const 1)))
    (br $again))
  unreachable)
(func $handle (type $event) (call $ok))
