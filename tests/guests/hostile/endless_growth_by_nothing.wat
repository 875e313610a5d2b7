;; Grows its memory by no page for ever: the host is asked each time. The time limit must end it.
(func $handle (type $event)
  (loop $again
    (drop (memory.grow (i32.const 0)))
    (br $again))
  unreachable)
