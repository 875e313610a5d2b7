;; A function of two thousand parameters, more than there may be. It must be refused.
(component
  (core module (func (@repeat 2000 (param i64) ))))
