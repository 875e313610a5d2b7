;; Publishes until all messages together are too large, then gives up. None must be seen.
(func $handle (type $event)
  (loop $again
    (call $try_payload (i32.const 65536) (i32.const 4096))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
  (call $give_up))
