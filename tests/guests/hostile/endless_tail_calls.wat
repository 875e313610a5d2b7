;; Two functions that call each other as their last deed, for ever: no stack is used. The time limit must end it.
(func $ping (return_call $pong))
(func $pong (return_call $ping))
(func $handle (type $event)
  (call $ping)
  unreachable)
