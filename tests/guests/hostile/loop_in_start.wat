;; Loops for ever while an instance is made. It must be refused, and soon.
(start $loop)
(func $loop (loop $again (br $again)))
(func $handle (type $event) (call $ok))
