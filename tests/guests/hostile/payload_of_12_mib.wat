;; Publishes a payload that is in its memory, but more than the host takes in one call. It must trap.
(memory $memory 200)
(func $handle (type $event)
  (call $try_payload (i32.const 65536) (i32.const 12582912))
  unreachable)
