;; Asks to see the event again in seven weeks. It must wait, and nothing of it must be seen.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $defer (i32.const -1) (@text "not now")))
