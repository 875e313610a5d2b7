;; Begins with four gigabytes. It must be refused.
(memory $memory 65536)
(func $handle (type $event) (call $ok))
