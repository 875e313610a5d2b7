;; A hundred thousand elements that wait for a table, and are put into one that is too small. It must trap.
(table $table 10 funcref)
(func $idle)
(elem $many func (@repeat 100000 $idle ))
(func $handle (type $event)
  (table.init $table $many (i32.const 0) (i32.const 0) (i32.const 100000))
  unreachable)
