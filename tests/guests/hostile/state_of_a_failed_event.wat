;; Sets a state and traps; on the second run it looks for that state. There must be none.
(func $handle (type $event)
  (if (i32.eq (call $attempt) (i32.const 1))
    (then
      (call $state_set (i32.const 16384) (i32.const 8) (i32.const 32))
      unreachable))
  (call $state_get (i32.const 32))
  (call $note (i32.add (i32.const 48) (i32.load8_u (i32.const 32))))
  (call $done))
