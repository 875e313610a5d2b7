;; Waits on a shared memory for a wake-up that never comes, which would hold a thread of the host. It must be refused.
(memory $shared 1 1 shared)
(func $handle (type $event)
  (drop (memory.atomic.wait32 $shared (i32.const 0) (i32.const 0) (i64.const -1)))
  unreachable)
