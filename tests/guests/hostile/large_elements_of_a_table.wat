;; A table that is full of functions from the start, as large as there may be. It must run.
(table $table 40000 funcref)
(func $idle)
(elem (table $table) (i32.const 0) func (@repeat 40000 $idle ))
(func $handle (type $event) (call $done))
