;; Calls itself without end, with ten thousand values on the stack each time. The stack limit must end it.
(func $dive (param $x i64) (result i64)
  (@repeat 10000 (i64.add (local.get $x) (i64.const @this)) )
  (call $dive (local.get $x))
  (@repeat 10000 i64.add ))
(func $handle (type $event)
  (drop (call $dive (i64.const 0)))
  unreachable)
