;; Counts for a while whenever an instance is made, less than its limit. It must run.
(start $begin)
(func $begin (local $n i32)
  (loop $again
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 20000000)))))
(func $handle (type $event) (call $done))
