;; Publishes on its neighbour's subject, and gives up when that is refused. Nothing must be seen.
(func $handle (type $event)
  (call $try_subject (@text "evil.early"))
  (call $try_subject (@text "out.k0"))
  (call $give_up))
