;; Fifty memories. It must be refused.
(memory $memory 2)
(@repeat 50 (memory 0))
(func $handle (type $event) (call $ok))
