;; Asks for four gigabytes in one step. The memory limit must end it.
(func $handle (type $event)
  (drop (memory.grow (i32.const 65534)))
  unreachable)
