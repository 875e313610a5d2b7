;; Answers an event whose publisher wants no answer. It must be refused as invalid.
(func $handle (type $event)
  (call $reply (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))
  (call $note_answer)
  (call $done))
