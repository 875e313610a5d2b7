;; Rejects with a reason that would begin another header, and that would clear a terminal. It must be shown as text.
(func $handle (type $event)
  (call $reject (@text "a\r\nNats-Rollup: all\r\n\r\n\1b[2J\1b]0;b\07")))
