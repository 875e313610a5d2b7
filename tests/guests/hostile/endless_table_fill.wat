;; Fills a large table again and again: each is one instruction. The time limit must end it.
(table $table 40000 funcref)
(func $handle (type $event)
  (loop $again
    (table.fill $table (i32.const 0) (ref.null func) (i32.const 40000))
    (br $again))
  unreachable)
