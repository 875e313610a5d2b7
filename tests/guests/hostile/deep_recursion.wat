;; Calls itself without end. The stack limit must end it.
(func $dive (param $depth i64) (result i64)
  (i64.add (call $dive (i64.add (local.get $depth) (i64.const 1))) (local.get $depth)))
(func $handle (type $event)
  (drop (call $dive (i64.const 0)))
  unreachable)
