;; Rejects with a reason that is not UTF-8. It must count as a trap.
(func $handle (type $event)
  (call $reject (@text "\80\81")))
