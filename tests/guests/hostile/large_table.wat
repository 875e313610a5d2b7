;; Begins with a table of ten million elements. It must be refused.
(table $table 10000000 funcref)
(func $handle (type $event) (call $ok))
