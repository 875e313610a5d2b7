;; Begins with more memory than it is allowed. It must be refused.
(memory $memory 400)
(func $handle (type $event) (call $ok))
