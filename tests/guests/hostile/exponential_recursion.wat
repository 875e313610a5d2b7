;; Computes a Fibonacci number the slow way: years of calls, each at most 90 deep. The time limit must end it.
(func $fibonacci (param $n i64) (result i64)
  (if (i64.le_u (local.get $n) (i64.const 1)) (then (return (local.get $n))))
  (i64.add
    (call $fibonacci (i64.sub (local.get $n) (i64.const 1)))
    (call $fibonacci (i64.sub (local.get $n) (i64.const 2)))))
(func $handle (type $event)
  (drop (call $fibonacci (i64.const 90)))
  unreachable)
