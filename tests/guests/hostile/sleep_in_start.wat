;; Sleeps for an hour while an instance is made. It must be refused, and soon.
(start $begin)
(func $begin (call $block (call $timer (i64.const 3600000000000))))
(func $handle (type $event) (call $ok))
