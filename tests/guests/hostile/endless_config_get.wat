;; Asks for a setting that is not there for ever. It must be ended.
(func $handle (type $event)
  (loop $again
    (call $config_get (@text "nothing") (i32.const 32))
    (br $again))
  unreachable)
