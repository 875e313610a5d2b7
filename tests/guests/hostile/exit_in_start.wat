;; Exits as if all were well while an instance is made. It must be refused.
(start $begin)
(func $begin (call $exit (i32.const 0)))
(func $handle (type $event) (call $ok))
