;; Asks for page after page and writes to each. The memory limit must end it.
(func $handle (type $event) (local $at i32)
  (loop $again
    (local.set $at (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
    (i32.store (local.get $at) (i32.const 1))
    (br $again))
  unreachable)
