;; Asks to see the event again at once, for ever. It must wait, and never keep the host busy.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (i32.store8 (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 4) (i32.const 1))
  (i32.store (i32.const 8) (i32.const 0))
  (i32.store (i32.const 12) (i32.const 0))
  (i32.store (i32.const 16) (i32.const 0))
  (i32.const 0))
