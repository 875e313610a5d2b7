;; Sets a state larger than it is allowed, and gives up when it is told.
(func $handle (type $event)
  (call $state_set (i32.const 65536) (i32.const 16385) (i32.const 32))
  (call $note_answer)
  (call $give_up))
