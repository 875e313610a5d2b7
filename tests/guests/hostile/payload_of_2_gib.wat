;; Publishes a payload whose length is negative for whoever takes it for signed. It must trap.
(func $handle (type $event)
  (call $try_payload (i32.const 1024) (i32.const -2147483648))
  unreachable)
