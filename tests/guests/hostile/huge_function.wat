;; One function of a hundred thousand steps, each of which needs the one before. It must be compiled within bounds, and run.
(func $long (param $x i64) (result i64)
  (local.get $x)
  (@repeat 100000 (i64.const @this) i64.mul (local.get $x) i64.xor ))
(func $handle (type $event) (call $done))
