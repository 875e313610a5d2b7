;; Takes three hundred handles for each event and gives none back, in an instance that serves many events. When it has
;; too many it must trap, and the event must be done in an instance that is new.
;; In heddle.toml: instances = { reuse = 1000 }
(func $handle (type $event) (local $n i32)
  (loop $again
    (drop (call $timer (i64.const 3600000000000)))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 300))))
  (global.set $noted (i32.const 0))
  (call $done))
