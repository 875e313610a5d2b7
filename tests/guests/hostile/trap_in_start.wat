;; Traps while an instance is made. It must be refused.
(start $begin)
(func $begin unreachable)
(func $handle (type $event) (call $ok))
