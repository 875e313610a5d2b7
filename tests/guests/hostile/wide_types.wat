;; A tuple of ten of a tuple of ten and so on: a million million values for a parameter. It must be refused.
(component
  (type $t0 (tuple u8 u8))
  (@repeat 12 (type $t@next (tuple $t@this $t@this $t@this $t@this $t@this $t@this $t@this $t@this $t@this $t@this)) )
  (import "wide" (func (param "x" $t12))))
