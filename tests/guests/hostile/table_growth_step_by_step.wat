;; Lets a table grow element by element until it is refused. It must end, and the host must not.
(table $table 1 funcref)
(func $handle (type $event)
  (loop $again
    (br_if $again (i32.ne (i32.const -1) (table.grow $table (ref.null func) (i32.const 1000)))))
  (call $reject (@text "no more elements")))
