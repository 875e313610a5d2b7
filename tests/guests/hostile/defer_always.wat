;; Asks to see the event again at once, for ever. It must wait, and never keep the host busy.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $defer (i32.const 0) (@text "not now")))
