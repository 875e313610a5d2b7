;; Publishes until there are too many messages, then gives up. None must be seen.
(func $handle (type $event)
  (loop $again
    (call $try_subject (@text "evil.flood"))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
  (call $give_up))
