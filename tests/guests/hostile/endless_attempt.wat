;; Asks for the attempt for ever: each call is short, and none of them waits. It must be ended.
(func $handle (type $event)
  (loop $again
    (drop (call $attempt))
    (br $again))
  unreachable)
