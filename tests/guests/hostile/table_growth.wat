;; Asks for a table of a million elements. The memory limit must end it.
(table $table 1 funcref)
(func $handle (type $event)
  (drop (table.grow $table (ref.null func) (i32.const 1000000)))
  unreachable)
