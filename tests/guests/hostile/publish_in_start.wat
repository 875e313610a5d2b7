;; Publishes while an instance is made, when there is no event. It must be refused.
(start $begin)
(func $begin (call $try_subject (@text "evil.early")))
(func $handle (type $event) (call $ok))
