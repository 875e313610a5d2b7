;; Publishes a payload of the greatest length there is. It must trap.
(func $handle (type $event)
  (call $try_payload (i32.const 0) (i32.const -1))
  unreachable)
