;; Gives an odd place for its answer. It must trap.
(func $handle (type $event)
  (i32.const 1025))
