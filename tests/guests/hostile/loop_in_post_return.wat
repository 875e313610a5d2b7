;; Publishes, answers ok, and loops for ever when the host gives the answer back. The time limit must end it, and the
;; event must not count as done.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $ok))
(func $after (export "cabi_post_heddle:plugin/handler@0.1.0#handle") (param i32)
  (loop $again (br $again)))
