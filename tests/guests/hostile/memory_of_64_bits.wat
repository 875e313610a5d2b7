;; Has a memory with addresses of 64 bits, and begins with a page beyond four gigabytes. It must be refused.
(memory $memory 2)
(memory $wide i64 65537)
(func $handle (type $event) (call $ok))
