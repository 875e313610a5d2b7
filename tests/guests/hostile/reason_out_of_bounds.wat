;; Rejects with a reason of four gigabytes. It must trap.
(func $handle (type $event)
  (call $reject (i32.const 1024) (i32.const -1)))
