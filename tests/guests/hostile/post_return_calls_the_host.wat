;; Publishes when the host gives the answer back, which is too late. It must trap, and publish nothing.
(func $handle (type $event) (call $ok))
(func $after (export "cabi_post_heddle:plugin/handler@0.1.0#handle") (param i32)
  (call $try_subject (@text "evil.late")))
