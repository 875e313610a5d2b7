;; Asks for a setting whose name is not UTF-8. It must trap.
(func $handle (type $event)
  (call $config_get (@text "\f5") (i32.const 32))
  unreachable)
