;; Exports a function whose name would clear a terminal, and traps in one with such a name. It must be shown as text.
(func $"\1b[2J\0d\0aERROR forged" unreachable)
(func $handle (type $event)
  (call $"\1b[2J\0d\0aERROR forged")
  unreachable)
