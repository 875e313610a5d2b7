;; Publishes more than the server takes in one message, then gives up.
(memory $memory 40)
(func $handle (type $event)
  (call $try_payload (i32.const 65536) (i32.const 2097152))
  (call $give_up))
