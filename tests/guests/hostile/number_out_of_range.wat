;; Makes a whole number of one that is not finite. It must trap.
(func $handle (type $event)
  (i32.trunc_f64_s (f64.const inf)))
