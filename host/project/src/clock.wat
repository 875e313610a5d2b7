;; A clock that asks nobody, for the modules of languages whose collector looks at the clock while the host waits
;; for memory: a component must not call the host then.
;;
;; The wall clock reads what `set_now` was told last. The monotonic clock goes on by a microsecond with every look,
;; and at once by as much as somebody wants to sleep. So no run waits, and every run of an event sees the same.
(module
  (import "env" "memory" (memory 0))

  ;; Nanoseconds since 1970.
  (global $wall (mut i64) (i64.const 0))
  ;; Nanoseconds since the instance was made.
  (global $monotonic (mut i64) (i64.const 0))

  (func (export "set_now") (param $nanoseconds i64)
    (global.set $wall (local.get $nanoseconds)))

  (func $now (param $clock i32) (result i64)
    (if (result i64) (local.get $clock)
      (then
        (global.set $monotonic (i64.add (global.get $monotonic) (i64.const 1000)))
        (global.get $monotonic))
      (else (global.get $wall))))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $out i32) (result i32)
    (i64.store (local.get $out) (call $now (local.get $clock)))
    (i32.const 0))

  (func (export "sched_yield") (result i32)
    (i32.const 0))

  ;; Files cannot be made not to block: whoever reads one waits for the host, and nobody has to poll it. 58 is `notsup`.
  (func (export "fd_fdstat_set_flags") (param $file i32) (param $flags i32) (result i32)
    (i32.const 58))

  ;; How long a subscription to a clock has to wait, in nanoseconds.
  (func $wait (param $subscription i32) (result i64)
    (local $timeout i64)
    (local $now i64)
    (local.set $timeout (i64.load offset=24 (local.get $subscription)))
    ;; A time of day or a time from now.
    (if (i32.and (i32.load16_u offset=40 (local.get $subscription)) (i32.const 1))
      (then
        (local.set $now (call $now (i32.load offset=16 (local.get $subscription))))
        (if (i64.gt_u (local.get $now) (local.get $timeout))
          (then (return (i64.const 0))))
        (return (i64.sub (local.get $timeout) (local.get $now)))))
    (local.get $timeout))

  ;; Files are always ready, for they block. If there are none, the clock goes on to the first end of a wait.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $written i32) (result i32)
    (local $subscription i32)
    (local $end i32)
    (local $files i32)
    (local $first i64)
    (local $events i32)
    (if (i32.eqz (local.get $count))
      (then (return (i32.const 28))))
    (local.set $end (i32.add (local.get $in) (i32.mul (local.get $count) (i32.const 48))))
    (local.set $first (i64.const -1))
    (local.set $subscription (local.get $in))
    (loop $next
      (if (i32.load8_u offset=8 (local.get $subscription))
        (then (local.set $files (i32.const 1)))
        (else
          (if (i64.lt_u (call $wait (local.get $subscription)) (local.get $first))
            (then (local.set $first (call $wait (local.get $subscription)))))))
      (local.set $subscription (i32.add (local.get $subscription) (i32.const 48)))
      (br_if $next (i32.lt_u (local.get $subscription) (local.get $end))))
    (if (i32.eqz (local.get $files))
      (then (global.set $monotonic (i64.add (global.get $monotonic) (local.get $first)))))
    (local.set $subscription (local.get $in))
    (loop $next
      (block $silent
        (if (local.get $files)
          (then (br_if $silent (i32.eqz (i32.load8_u offset=8 (local.get $subscription)))))
          (else (br_if $silent (i64.gt_u (call $wait (local.get $subscription)) (local.get $first)))))
        (memory.fill (local.get $out) (i32.const 0) (i32.const 32))
        (i64.store (local.get $out) (i64.load (local.get $subscription)))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $subscription)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $events (i32.add (local.get $events) (i32.const 1))))
      (local.set $subscription (i32.add (local.get $subscription) (i32.const 48)))
      (br_if $next (i32.lt_u (local.get $subscription) (local.get $end))))
    (i32.store (local.get $written) (local.get $events))
    (i32.const 0)))
