;; Begins with data beyond its memory. It must be refused.
(memory $memory 2)
(data (i32.const 131070) "beyond")
(func $handle (type $event) (call $ok))
