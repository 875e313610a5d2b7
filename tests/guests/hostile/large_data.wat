;; Four megabytes of data, put into memory for every instance. It must run within its limits.
(memory $memory 80)
(data (i32.const 65536) (@repeat 65536 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" ))
(func $handle (type $event)
  (call $note (i32.load8_u (i32.const 4259839)))
  (call $done))
