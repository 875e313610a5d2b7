;; Declares that it may grow to four gigabytes, and never does. That is no fault: it must run.
(memory $memory 2 65536)
(func $handle (type $event) (call $done))
