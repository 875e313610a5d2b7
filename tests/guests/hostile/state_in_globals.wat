;; Counts its events in a global and in its memory. Every event must find a fresh instance, and count 1.
(global $events (mut i32) (i32.const 48))
(func $handle (type $event)
  (global.set $events (i32.add (global.get $events) (i32.const 1)))
  (call $note (global.get $events))
  (i32.store (i32.const 16384) (i32.add (i32.load (i32.const 16384)) (i32.const 49)))
  (call $note (i32.load (i32.const 16384)))
  (call $done))
