;; Publishes with the longest delay there is. It must be refused as invalid.
(func $handle (type $event)
  (call $publish_after (@text "evil.late") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 32))
  (call $note_answer)
  (call $done))
