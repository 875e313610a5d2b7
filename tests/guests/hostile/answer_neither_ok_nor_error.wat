;; Publishes, and gives an answer that is neither ok nor error. It must trap, and publish nothing.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (i32.store8 (i32.const 0) (i32.const 2))
  (i32.const 0))
