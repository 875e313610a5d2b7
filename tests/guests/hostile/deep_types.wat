;; A list of lists of lists, a thousand deep, for a parameter. It must be refused.
(component
  (type $t0 (list u8))
  (@repeat 1000 (type $t@next (list $t@this)) )
  (import "deep" (func (param "x" $t1000))))
