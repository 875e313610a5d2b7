;; Publishes a payload larger than all output may be, then goes on. It must be told, and be done.
(memory $memory 4)
(func $handle (type $event)
  (call $try_payload (i32.const 65536) (i32.const 65537))
  (call $done))
