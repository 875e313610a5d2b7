;; Sets a state larger than it is allowed, then goes on. It must be told, and be done.
(func $handle (type $event)
  (call $state_set (i32.const 65536) (i32.const 16385) (i32.const 32))
  (call $note_answer)
  (call $done))
