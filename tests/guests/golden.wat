;; Publishes whatever could differ between two machines, and adds to a state: NaNs, relaxed vectors, clocks, the seed of hash
;; maps, and random numbers. An event whose payload begins with `r` is rejected.

(import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param $answer i32)))
(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $monotonic (result i64)))
(import "wasi:random/insecure-seed@0.2.6" "insecure-seed" (func $hash_seed (param $answer i32)))

;; A NaN of double and one of single precision with bits of their own, -1, and 1e30.
(data (i32.const 20480) "\01\02\03\04\05\06\f4\7f" "\01\02\a3\7f" "\00\00\80\bf" "\ca\f2\49\71")
;; Places beyond the end of a vector.
(data (i32.const 20512) "\00\10\11\7f\80\90\ff\0f\1f\2f\3f\4f\5f\6f\8f\01")

(func $nans
  (local $zero f64) (local $nan f64) (local $single f32)
  ;; Read from memory, so that no compiler computes ahead.
  (local.set $zero (f64.load (i32.const 20600)))
  (local.set $nan (f64.load (i32.const 20480)))
  (local.set $single (f32.load (i32.const 20488)))
  (f64.store (i32.const 16384) (f64.div (local.get $zero) (local.get $zero)))
  (f64.store (i32.const 16392) (f64.sqrt (f64.sub (local.get $zero) (f64.const 1))))
  (f64.store (i32.const 16400) (f64.add (local.get $nan) (f64.const 1)))
  (f64.store (i32.const 16408) (f64.min (local.get $nan) (f64.const 1)))
  (f64.store (i32.const 16416) (f64.nearest (local.get $nan)))
  (f64.store (i32.const 16424) (f64.promote_f32 (local.get $single)))
  (f32.store (i32.const 16432) (f32.demote_f64 (local.get $nan)))
  (f32.store (i32.const 16436) (f32.mul (local.get $single) (f32.const 2))))

(func $vectors
  (local $odd v128)
  ;; A NaN, -1 and 1e30, as singles.
  (local.set $odd (v128.load (i32.const 20488)))
  (v128.store (i32.const 16440) (i32x4.relaxed_trunc_f32x4_s (local.get $odd)))
  (v128.store (i32.const 16456) (i32x4.relaxed_trunc_f32x4_u (local.get $odd)))
  (v128.store (i32.const 16472) (i8x16.relaxed_swizzle (local.get $odd) (v128.load (i32.const 20512))))
  (v128.store (i32.const 16488) (f32x4.relaxed_min (local.get $odd) (f32x4.splat (f32.const 0))))
  (v128.store (i32.const 16504) (f32x4.relaxed_madd
    (f32x4.splat (f32.const 1.0000001)) (f32x4.splat (f32.const 1.0000001)) (f32x4.splat (f32.const -1.0000002))))
  (v128.store (i32.const 16520) (f64x2.add (v128.load (i32.const 20480)) (v128.load (i32.const 20480)))))

(func $surroundings
  (call $wall (i32.const 16536))
  (i64.store (i32.const 16552) (call $monotonic))
  (i64.store (i32.const 16560) (call $monotonic))
  (call $hash_seed (i32.const 16568))
  (call $random (i64.const 32) (i32.const 128))
  (memory.copy (i32.const 16584) (i32.load (i32.const 128)) (i32.const 32)))

;; The state is a sum: of what it was, and of eight random bytes.
(func $sum
  (call $state_get (i32.const 128))
  (if (i32.load8_u (i32.const 128))
    (then (i64.store (i32.const 16616) (i64.load (i32.load (i32.const 132))))))
  (i64.store (i32.const 16616) (i64.add (i64.load (i32.const 16616)) (i64.load (i32.const 16584))))
  (call $state_set (i32.const 16616) (i32.const 8) (i32.const 128)))

(func $handle (type $event)
  (if (i32.eq (i32.load8_u (local.get 10)) (i32.const 114)) (then (return (call $reject (@text "as it was asked")))))
  (call $nans)
  (call $vectors)
  (call $surroundings)
  (call $sum)
  (call $publish (@text "out.golden") (i32.const 0) (i32.const 0) (i32.const 16384) (i32.const 240) (i32.const 32))
  (if (i32.load8_u (i32.const 32)) (then unreachable))
  (call $ok))
