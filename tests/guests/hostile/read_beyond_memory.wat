;; Reads behind its memory. It must trap.
(func $handle (type $event)
  (i32.load (i32.const -4)))
