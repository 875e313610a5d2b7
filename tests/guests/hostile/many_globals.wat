;; Six hundred thousand globals: more room than an instance has for its own affairs. It must be refused.
(@repeat 600000 (global i64 (i64.const 0)))
(func $handle (type $event) (call $ok))
