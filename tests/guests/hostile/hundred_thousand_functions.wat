;; A hundred thousand functions that nobody calls. It must be compiled within bounds, and run.
(@repeat 100000 (func (result i32) (i32.const @this)))
(func $handle (type $event) (call $done))
