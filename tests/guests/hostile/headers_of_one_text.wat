;; Publishes sixty headers whose values are all the same megabyte. It must trap: the host does not copy sixty.
(memory $memory 40)
(func $handle (type $event) (local $at i32)
  (local.set $at (i32.const 16384))
  (loop $again
    (i32.store offset=8 (local.get $at) (i32.const 65536))
    (i32.store offset=12 (local.get $at) (i32.const 1048576))
    (local.set $at (i32.add (local.get $at) (i32.const 16)))
    (br_if $again (i32.lt_u (local.get $at) (i32.const 17344))))
  (call $publish (@text "evil.a") (i32.const 16384) (i32.const 60) (i32.const 0) (i32.const 0) (i32.const 32))
  unreachable)
