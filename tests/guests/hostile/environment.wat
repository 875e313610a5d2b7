;; Asks for the environment and the arguments. There must be none.
(func $handle (type $event)
  (call $environment (i32.const 32))
  (call $note (i32.add (i32.const 48) (i32.load (i32.const 36))))
  (call $arguments (i32.const 32))
  (call $note (i32.add (i32.const 48) (i32.load (i32.const 36))))
  (call $done))
