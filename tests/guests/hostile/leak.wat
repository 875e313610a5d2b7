;; Takes a megabyte and a hundred handles for each event and gives nothing back. The next event must have room all the same.
(func $handle (type $event) (local $n i32)
  (drop (memory.grow (i32.const 16)))
  (loop $again
    (drop (call $timer (i64.const 3600000000000)))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 100))))
  (call $done))
