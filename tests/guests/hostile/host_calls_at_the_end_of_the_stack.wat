;; Calls the host at every depth of an endless recursion, so also where next to no stack is left. The stack limit must
;; end it, and the host must have a stack of its own.
(func $dive (param $x i64) (result i64)
  (@repeat 500 (i64.add (local.get $x) (i64.const @this)) )
  (call $log (i32.const 4) (@text "\1b deeper \07"))
  (call $publish (@text "in.k0") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))
  (call $dive (local.get $x))
  (@repeat 500 i64.add ))
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65536))
(func $handle (type $event)
  (drop (call $dive (i64.const 0)))
  unreachable)
