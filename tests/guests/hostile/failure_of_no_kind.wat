;; Fails in a way that the contract does not know. It must trap.
(func $handle (type $event)
  (call $fail (i32.const 255) (@text "reason")))
