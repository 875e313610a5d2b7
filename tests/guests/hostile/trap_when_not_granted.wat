;; Publishes on its neighbour's subject, and traps when that is refused. Nothing must be seen.
(func $handle (type $event)
  (call $try_subject (@text "out.k0"))
  unreachable)
