;; Gives a stream back while it still waits for it. It must trap.
(func $handle (type $event) (local $stream i32)
  (local.set $stream (call $stdout))
  (drop (call $subscribe (local.get $stream)))
  (call $drop_stream (local.get $stream))
  unreachable)
