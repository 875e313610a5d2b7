;; Publishes on a subject of two thousand bytes. It must be refused as invalid.
(data (i32.const 16384) "evil." (@repeat 200 "0123456789" ))
(func $handle (type $event)
  (call $try_subject (i32.const 16384) (i32.const 2005))
  (call $done))
